//! The kernel's own price of a message, and the command that prints it.
//!
//! Drives the bare loop of `bare.rs` with the generator that drives the server. Knows nothing of Rally.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::bare::{ACK, Index, PUSHED, SENT};
use crate::child::Child;
use crate::disk::fsync_ns;
use crate::fleet::{Fleet, Got};
use crate::generator::{self, Clock, Outcome, Target, peer_of};
use crate::ledger::{Told, What};
use crate::load::Load;
use crate::proc::Machine;
use crate::report::Report;
use crate::stop::{Stop, runs};

/// Measures the kernel's own price of a message.
///
/// A bare epoll loop on plain TCP, in a process of its own: reads 180 bytes, appends 300 to a
/// file with one fdatasync a turn of the loop, writes 60 to the sender and 200 to the peer.
///
/// `kernel CPU a message`: user and system time of that process over the measured window,
/// divided by the messages acknowledged in it. For scale, 98, 46 and 26 µs at 500, 2,000 and
/// 5,000 messages a second on a small virtual machine.
/// `kernel ack`, `kernel delivered`: from the intended time of sending.
/// `fsync`: one append of 300 bytes with fdatasync, measured alone on the same disk before each run.
/// `generator lag`: how late messages left; `generator CPU a message`: the price of the driver itself.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct KernelArgs {
    #[command(flatten)]
    load: Load,
}

/// Runs the command.
pub fn command(args: &KernelArgs, stop: &Stop) -> Result<bool> {
    let load = &args.load;
    let folder = load.folder()?;
    let mut report = Report::new("kernel", Machine::look(folder.path()), load.to_string());
    let clean = runs(&mut report, load.runs, stop, |report, number| {
        eprintln!("run {number} of {}: {load}", load.runs);
        add_fsync(report, folder.path())?;
        let outcome = price(load, folder.path(), stop)?;
        add(report, "kernel", &outcome);
        Ok(outcome.balance.is_clean())
    })?;
    report.publish(load.json.as_deref())?;
    Ok(clean)
}

/// Measures the disk and adds what one fsync takes; gives the median in milliseconds.
pub fn add_fsync(report: &mut Report, folder: &Path) -> Result<f64> {
    let ms = fsync_ns(folder, 200)?.value_at_quantile(0.5) as f64 / 1e6;
    report.add("fsync p50", "ms", ms);
    Ok(ms)
}

/// Adds what every run of the generator shows, under the name of what was driven.
pub fn add(report: &mut Report, name: &str, outcome: &Outcome) {
    report.add(format!("{name} CPU a message"), "µs", outcome.server_us());
    for (thread, us) in outcome.threads_us().filter(|_| outcome.threads_ns.len() > 1) {
        report.add(format!("{name} CPU a message, {thread}"), "µs", us);
    }
    report.add_latency(&format!("{name} ack"), &outcome.ack);
    report.add_latency(&format!("{name} delivered"), &outcome.delivery);
    report.add(format!("{name}: generator CPU a message"), "µs", outcome.own_us());
    let lag = |quantile| outcome.lag.value_at_quantile(quantile) as f64 / 1e6;
    report.add(format!("{name}: generator lag p50"), "ms", lag(0.5));
    report.add(format!("{name}: generator lag p99"), "ms", lag(0.99));
    report.note(format!("{name}: {}", outcome.balance.line()));
}

/// Runs the bare loop once under the load.
pub fn price(load: &Load, folder: &Path, stop: &Stop) -> Result<Outcome> {
    let file: PathBuf = folder.join("bare-loop.log");
    let path = file.to_str().context("the data folder's name is no UTF-8")?;
    let (child, address) = Child::own(&["bare-messages", path])?;
    let mut plain = Plain::connect(address, load.users)?;
    let outcome = generator::run(&mut plain, &load.schedule(), load.users, &[child.pid()], stop);
    drop(child);
    std::fs::remove_file(&file)?;
    outcome
}

/// The bare loop's protocol from the client's side.
struct Plain {
    fleet: Fleet,
    /// What one read left over, by line.
    rests: Vec<Vec<u8>>,
    scratch: Vec<u8>,
    ready: Vec<usize>,
}

impl Plain {
    /// Connects one line a user. The child numbers lines as they arrive, which is this order.
    fn connect(address: SocketAddr, users: usize) -> Result<Self> {
        let mut fleet = Fleet::new()?;
        for _ in 0..users {
            fleet.connect(address)?;
        }
        let rests = vec![Vec::new(); users];
        Ok(Self { fleet, rests, scratch: vec![0; 64 * 1024], ready: Vec::new() })
    }
}

impl Target for Plain {
    fn send(&mut self, sender: usize, seq: usize) -> Result<()> {
        let mut record = [b'r'; SENT];
        record[..4].copy_from_slice(&(peer_of(sender) as Index).to_le_bytes());
        record[4..12].copy_from_slice(&(seq as u64).to_le_bytes());
        Ok(self.fleet.write(sender, &record)?)
    }

    fn turn(&mut self, timeout: Duration, clock: &Clock, told: &mut Vec<Told>) -> Result<()> {
        self.ready.clear();
        self.fleet.wait(timeout, &mut self.ready)?;
        for line in self.ready.drain(..) {
            match self.fleet.read(line, &mut self.scratch)? {
                Got::Bytes(bytes) => {
                    let at_ns = clock.ns();
                    answers(&mut self.rests[line], &self.scratch[..bytes], |what, seq| {
                        told.push(Told { seq, at_ns, what });
                    });
                }
                Got::Nothing => {}
                Got::Ended => anyhow::bail!("the bare loop ended line {line}"),
            }
        }
        Ok(())
    }
}

/// Cuts acks and pushes out of what was read; the byte after the head tells them apart.
fn answers(rest: &mut Vec<u8>, bytes: &[u8], mut each: impl FnMut(What, usize)) {
    rest.extend_from_slice(bytes);
    let mut used = 0;
    while let Some(kind) = rest.get(used + 12) {
        let (length, what) = match kind {
            b'a' => (ACK, What::Acked(0)),
            _ => (PUSHED, What::Delivered(0)),
        };
        if rest.len() < used + length {
            break;
        }
        let mut seq = [0; 8];
        seq.copy_from_slice(&rest[used + 4..used + 12]);
        each(what, u64::from_le_bytes(seq) as usize);
        used += length;
    }
    rest.drain(..used);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_may_be_cut_anywhere() {
        let record = |kind: u8, length: usize, seq: u64| {
            let mut record = vec![kind; length];
            record[4..12].copy_from_slice(&seq.to_le_bytes());
            record
        };
        let stream = [record(b'a', ACK, 7), record(b'm', PUSHED, 8), record(b'a', ACK, 9)].concat();
        let expected = vec![(What::Acked(0), 7), (What::Delivered(0), 8), (What::Acked(0), 9)];
        for piece in [1, 13, 60, 61, 320] {
            let (mut rest, mut heard) = (Vec::new(), Vec::new());
            for bytes in stream.chunks(piece) {
                answers(&mut rest, bytes, |what, seq| heard.push((what, seq)));
            }
            assert_eq!(heard, expected, "in pieces of {piece}");
        }
    }
}
