//! The chat service that people write at home: `benches/peers/socketio/`, on 127.0.0.1:15433.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::postgresql;
use crate::checkout::Checkout;
use crate::process::Process;
use crate::service::Service;
use crate::{call, client, need};

const PORT: u16 = 15_433;

/// Installs the packages that it is written with.
pub fn install(checkout: &Checkout) -> anyhow::Result<()> {
    need::check(&[&need::NODE, &need::NPM])?;
    client::packages(&folder(checkout), checkout.kept("peer-socketio.stamp"))?;
    Ok(())
}

/// Gives it, ready to be started beside its database.
pub fn service(checkout: &Checkout, home: &Path, scrypt_cost: u32) -> anyhow::Result<Service> {
    let mut service = known(home);
    service.command = call::program("node", home);
    service.command.arg(folder(checkout).join("server.js")).envs(postgresql::place(home)?);
    service.command.env("HOST", Ipv4Addr::LOCALHOST.to_string()).env("PORT", PORT.to_string());
    service.command.env("NODE_ENV", "production");
    service.command.env("SCRYPT_COST", scrypt_cost.to_string());
    Ok(service)
}

/// Says of which versions node and its packages are.
pub fn version(checkout: &Checkout) -> String {
    const ASK: &str = "const of = (name) => JSON.parse(require('fs')\
        .readFileSync(`node_modules/${name}/package.json`)).version;\
        console.log(`socket.io ${of('socket.io')}, node ${process.version}`)";
    let said = call::ask(call::program("node", &folder(checkout)).args(["-e", ASK]));
    said.unwrap_or_else(|| "socket.io and node of unknown versions".to_owned())
}

/// Gives it as it may run, without the means to start it.
pub fn known(home: &Path) -> Service {
    Service {
        process: Process::of(home.join("socketio")),
        answers: SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)),
        command: Command::new("node"),
    }
}

fn folder(checkout: &Checkout) -> PathBuf {
    checkout.root().join("benches/peers/socketio")
}
