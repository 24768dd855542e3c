//! The people of a run on the peer, and their accounts.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use serde_json::json;

use crate::http::Http;
use crate::people::user;
use crate::run::scenario::{Receipts, Scenario};

/// Everybody's password.
const PASSWORD: &str = "rally-bench";

/// Who the clients are, and what they answer.
#[derive(Debug, Clone, Copy)]
pub struct Crowd {
    /// Which of the bench's users is the first of this run.
    pub first: usize,
    /// Users of this run.
    pub users: usize,
    /// Devices of each.
    pub devices: usize,
    /// Whether a device says that a message came.
    pub delivered: bool,
    /// Whether the first device of each user says that it was read.
    pub read: bool,
}

impl Crowd {
    /// Makes the users of a scenario; such as no run had before, since the peer keeps what they wrote.
    ///
    /// # Errors
    ///
    /// The machine's clock stands before 1970.
    pub fn of(scenario: &Scenario) -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let Scenario { users, devices, receipts, .. } = *scenario;
        Ok(Self {
            first: now.as_millis() as usize * 1_000,
            users,
            devices,
            delivered: receipts != Receipts::None,
            read: receipts == Receipts::Read,
        })
    }

    /// Names user `n` of this run.
    pub fn name(&self, n: usize) -> String {
        user(self.first + n).to_string()
    }

    /// Makes the accounts that are not there yet.
    ///
    /// # Errors
    ///
    /// Somebody else has one of these names, or the peer does not answer.
    pub fn register(&self, door: SocketAddr) -> Result<()> {
        let mut http = Http::connect(door)?;
        for n in 0..self.users {
            let json = credentials(&self.name(n));
            if http.post("/login", None, &json).is_err() {
                http.post("/register", None, &json)?;
            }
        }
        Ok(())
    }
}

/// Writes what a user registers and logs in with.
pub fn credentials(name: &str) -> String {
    json!({ "name": name, "password": PASSWORD }).to_string()
}
