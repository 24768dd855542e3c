//! The accounts that a bench acts for, and their way to a ticket.
//!
//! Knows the HTTP contract (log in, discover) and nothing of sockets.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use rally_cluster::store::UserRow;
use rally_schema::{ClientId, UserId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::http::Http;
use crate::out::say;
use crate::run::scenario::Scenario;
use crate::stop::Stop;

/// Everybody's password.
const PASSWORD: &str = "rally-bench";

/// Its argon2id hash at the least cost that there is.
const CHEAP: &str =
    "$argon2id$v=19$m=8,t=1,p=1$cmFsbHktYmVuY2gtc2FsdA$KuWyNF5Z161YIQUD3un2jQqvqMl76KoZaPHltzmqPqU";

/// The same at the cost of those that a server makes.
const USUAL: &str = "$argon2id$v=19$m=19456,t=2,p=1$cmFsbHktYmVuY2gtc2FsdA$\
                     zgxhxPFPlhefmHJNDzpKanpcnEbN9ItmO8Rkb3jWZaU";

/// What checking an account's password costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cost {
    /// As little as it can: ten thousand log-ins at the usual cost would take minutes.
    Least,
    /// What it costs with a server's own hashes: where log-ins are what is measured.
    Usual,
}

impl Cost {
    /// Gives what it is to cost in a scenario.
    pub fn of(scenario: &Scenario) -> Self {
        if scenario.logins > 0.0 { Self::Usual } else { Self::Least }
    }

    fn hash(self) -> &'static str {
        match self {
            Self::Least => CHEAP,
            Self::Usual => USUAL,
        }
    }
}

/// An account to be imported.
#[derive(Debug, Clone, Serialize)]
pub struct Account {
    user: UserId,
    hash: &'static str,
}

impl Account {
    /// Makes the account of a user, whose password everybody has.
    pub fn of(user: UserId, cost: Cost) -> Self {
        Self { user, hash: cost.hash() }
    }

    /// Makes the row that a store keeps of it.
    pub fn row(&self) -> UserRow {
        let (name, password) = (self.user.to_string(), Some(self.hash.to_owned()));
        UserRow { user: self.user, name, password, epoch: 0, hide_presence: false }
    }
}

/// Names user `n` of a bench.
pub fn user(n: usize) -> UserId {
    format!("user{n:06}").parse().expect("letters and at most 26 digits are a user id")
}

/// Prints accounts as `rally-server users import` reads them.
pub fn print(first: usize, users: usize, cost: Cost) -> Result<()> {
    let account = |n| serde_json::to_string(&Account::of(user(n), cost));
    (first..first + users).try_for_each(|n| say(account(n)?))
}

/// Who is logged in.
#[derive(Debug, Clone)]
pub struct Login {
    token: String,
}

/// What a log-in is answered with.
#[derive(Debug, Deserialize)]
pub struct Token {
    /// What the bearer shows from then on.
    pub token: String,
}

/// Writes what a user logs in with.
pub fn log_in_json(user: UserId) -> String {
    format!("{{\"user\":\"{user}\",\"password\":\"{PASSWORD}\",\"bearer\":true}}")
}

/// Where a client may open its socket, for the next 30 seconds.
#[derive(Debug, Clone)]
pub struct Place {
    /// Where the server listens that the ticket is for.
    pub server: SocketAddr,
    /// The client that the ticket is for.
    pub client: ClientId,
    /// The path of the socket.
    pub path: String,
    /// For `hello`.
    pub ticket: String,
}

/// The HTTP side of a server.
#[derive(Debug)]
pub struct Door {
    server: SocketAddr,
    http: Http,
}

impl Door {
    /// Connects.
    pub fn of(server: SocketAddr) -> Result<Self> {
        Ok(Self { server, http: Http::connect(server)? })
    }

    /// Logs a user in.
    pub fn log_in(&mut self, user: UserId) -> Result<Login> {
        let answer = self.http.post("/api/login", None, &log_in_json(user))?;
        let Token { token } = serde_json::from_str(&answer).context("logging in")?;
        Ok(Login { token })
    }

    /// Asks where a new client of a user may connect.
    pub fn discover(&mut self, login: &Login) -> Result<Place> {
        #[derive(Serialize)]
        struct Question {
            client: ClientId,
        }
        #[derive(Deserialize)]
        struct Answer {
            address: String,
            ticket: String,
        }
        let client = ClientId::from(Uuid::new_v4());
        let question = serde_json::to_string(&Question { client })?;
        let answer = self.http.post("/api/discover", Some(&login.token), &question)?;
        let Answer { address, ticket } = serde_json::from_str(&answer).context("discovering")?;
        let mut parts = address.splitn(4, '/').skip(2);
        let (host, path) = (parts.next().unwrap_or_default(), parts.next());
        let path = path.with_context(|| format!("no path in {address}"))?;
        // Another node, if it is on this machine: a bench never leaves that.
        let named = host.parse().ok().filter(|named: &SocketAddr| named.ip().is_loopback());
        let server = named.unwrap_or(self.server);
        Ok(Place { server, client, path: format!("/{path}"), ticket })
    }
}

/// Logs everybody in.
pub fn log_in(server: SocketAddr, users: &[UserId], stop: &Stop) -> Result<Vec<Login>> {
    let mut door = Door::of(server)?;
    let mut logins = Vec::with_capacity(users.len());
    for user in users {
        stop.check()?;
        logins.push(door.log_in(*user)?);
    }
    Ok(logins)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_ins_cost_what_they_cost_people_where_they_are_measured() {
        let hash = |name: &str| {
            let scenario = Scenario::read(name, &[]).unwrap();
            Account::of(user(0), Cost::of(&scenario)).hash
        };
        assert!(hash("login-storm").starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        for other in ["pairs", "idle", "reconnect-storm"] {
            assert!(hash(other).starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{other}");
        }
    }
}
