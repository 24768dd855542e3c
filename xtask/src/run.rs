//! `cargo xtask run`: from a checkout to a chat that people can use.
//!
//! Builds what is stale, then becomes the server: signals and the exit code are its own.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

use crate::checkout::Checkout;
use crate::{call, client, need};

/// Build everything and start a chat with demo users.
///
/// Needs rustc, node and npm, and says what is missing. The first build takes some minutes;
/// later ones do only what changed. Stop with Ctrl-C; what people wrote stays in the data
/// folder.
#[derive(clap::Args)]
pub struct Args {
    /// Folder that keeps accounts and messages [default: .rally/data in the checkout]
    #[arg(long, value_name = "DIR", env = "RALLY_DATA_DIR")]
    data_dir: Option<PathBuf>,

    /// Address and port to listen on
    #[arg(long, value_name = "ADDR", env = "RALLY_LISTEN", default_value = "127.0.0.1:8080")]
    listen: String,

    /// Further flags for rally-server (see `-- --help`)
    #[arg(last = true, value_name = "FLAGS")]
    server: Vec<OsString>,
}

/// Builds, then becomes the server. Returns only to report a failure.
pub fn run(checkout: &Checkout, args: Args) -> anyhow::Result<ExitCode> {
    build(checkout)?;
    let data = args.data_dir.unwrap_or_else(|| checkout.root().join(".rally/data"));
    println!("\nRally: {}  (Ctrl-C stops it)", link(&args.listen));
    println!("Data:  {}", data.display());

    let here = std::env::current_dir().context("cannot tell the current folder")?;
    let mut server = call::program(checkout.server(), &here);
    server.arg("--demo").arg("--listen").arg(&args.listen).arg("--data-dir").arg(&data);
    server.args(args.server);
    let error = server.exec();
    Err(error).with_context(|| format!("cannot start {}", checkout.server().display()))
}

/// Builds the server with the browser client inside, as far as either is stale.
pub fn build(checkout: &Checkout) -> anyhow::Result<()> {
    println!("[1/4] Tools: {}", need::check(&[&need::RUSTC, &need::NODE, &need::NPM])?);
    println!("[2/4] Packages of the browser client");
    client::install(checkout)?.tell();
    println!("[3/4] Pages of the browser client");
    client::build(checkout)?.tell();
    println!("[4/4] Server (release build)");
    call::run(call::cargo(checkout.root()).args([
        "build",
        "--release",
        "--package",
        "rally-server",
    ]))
}

/// Gives the address as a browser on this machine takes it.
fn link(listen: &str) -> String {
    match listen.rsplit_once(':') {
        Some((_, "0")) => "at the address that the server prints".to_owned(),
        Some(("0.0.0.0" | "[::]", port)) => format!("http://127.0.0.1:{port}"),
        _ => format!("http://{listen}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_is_one_that_a_browser_can_open() {
        assert_eq!(link("127.0.0.1:8080"), "http://127.0.0.1:8080");
        assert_eq!(link("0.0.0.0:80"), "http://127.0.0.1:80");
        assert_eq!(link("[::]:8080"), "http://127.0.0.1:8080");
        assert_eq!(link("127.0.0.1:0"), "at the address that the server prints");
    }
}
