//! `rally-server healthcheck`: one request to a running node, for supervisors that run a command.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, bail};

/// How long the node may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the node that listens on `address` whether it is ready; an error says why not.
pub fn ask(mut address: SocketAddr) -> anyhow::Result<()> {
    // A node that listens on every address is asked on the loopback.
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)
        .with_context(|| format!("no node answers at {address}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let request = format!("GET /readyz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.take(64 * 1024).read_to_string(&mut answer).context("the node did not answer")?;
    let status = answer.split(' ').nth(1).unwrap_or_default();
    if status != "200" {
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        bail!("the node is not ready: {status} {}", body.trim());
    }
    println!("ready");
    Ok(())
}
