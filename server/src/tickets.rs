//! Tickets: the short-lived right to open one WebSocket.
//!
//! Sealed for a user, a client and a node life, good for [`TICKET_MS`], spent once. They
//! travel in `hello`, never in a URL. Any node issues; only the life a ticket names redeems
//! it. A ticket names the log-in by which it was asked for, and the account's epoch by that log-in:
//! should he log out before it is redeemed, there or everywhere, the session ends by that. Knows
//! nothing of sockets or sessions.

use std::collections::{HashSet, VecDeque};

use parking_lot::Mutex;
use rally_actors::node::{Admitted, ByLogIn};
use rally_cluster::clock::Clock;
use rally_schema::limits::TICKET_MS;
use rally_schema::{ClientId, Life, UserId};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::seal::Sealer;

/// Tickets that this node remembers as spent: 8,700 connections a second for as long as
/// tickets live, in about 10 MB.
const SPENT: usize = 262_144;

/// Why a ticket does not open a connection. None of the texts shows the ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TicketError {
    /// Not sealed by this cluster.
    #[error("the ticket is none of ours: ask /api/discover for one")]
    Forged,
    /// Older than a ticket may be.
    #[error("the ticket has expired: ask /api/discover for a new one")]
    Expired,
    /// Redeemed before.
    #[error("the ticket was used before: ask /api/discover for a new one")]
    Spent,
    /// Made for another client.
    #[error(
        "the ticket was made for another client: name the same client in /api/discover and hello"
    )]
    OtherClient,
    /// Made for another node, or another run of this one.
    #[error("the ticket was made for another node: ask /api/discover for a new one")]
    OtherNode,
    /// More tickets were redeemed within their lifetime than the node remembers.
    #[error("too many tickets were redeemed at once: ask /api/discover for a new one in a while")]
    TooMany,
}

/// What a ticket says.
#[derive(Serialize, Deserialize)]
struct Claims {
    id: Uuid,
    user: UserId,
    /// A version before this named none.
    epoch: Option<u64>,
    /// Nor this: which log-in, and when it is over by itself.
    log_in: Option<(Uuid, u64)>,
    client: ClientId,
    life: Life,
    issued_ms: u64,
}

/// Issues tickets, and redeems those made for this life of the node.
pub struct Tickets {
    sealer: Sealer,
    clock: Clock,
    life: Life,
    memory: Mutex<Memory>,
}

/// What happened within the lifetime of a ticket; everything older is refused as expired.
#[derive(Default)]
struct Memory {
    spent: HashSet<Uuid>,
    /// The same ids by the time at which they stop to matter, oldest first.
    ends: VecDeque<(u64, Uuid)>,
}

impl Tickets {
    /// Issues and redeems with keys from the store's secret; `life` is this run of the node.
    pub fn new(secret: &[u8; 32], clock: Clock, life: Life) -> Self {
        let sealer = Sealer::new(secret, "rally ticket 1");
        Self { sealer, clock, life, memory: Mutex::default() }
    }

    /// Gives the run of the node whose tickets are redeemed here.
    pub fn life(&self) -> Life {
        self.life
    }

    /// Makes a ticket for somebody's `client` at the node life `life`.
    pub fn issue(&self, admitted: Admitted, client: ClientId, life: Life) -> String {
        let Admitted { user, epoch, log_in } = admitted;
        self.sealer.seal(&Claims {
            id: Uuid::new_v4(),
            user,
            epoch,
            log_in: log_in.map(|by| (by.id, by.ends_ms)),
            client,
            life,
            issued_ms: self.clock.now_ms(),
        })
    }

    /// Spends a ticket and says whose it is.
    pub fn redeem(&self, ticket: &str, client: ClientId) -> Result<Admitted, TicketError> {
        let claims: Claims = self.sealer.open(ticket).ok_or(TicketError::Forged)?;
        let now_ms = self.clock.now_ms();
        let ends_ms = claims.issued_ms.saturating_add(TICKET_MS);
        if now_ms >= ends_ms {
            return Err(TicketError::Expired);
        }
        if claims.life != self.life {
            return Err(TicketError::OtherNode);
        }
        if claims.client != client {
            return Err(TicketError::OtherClient);
        }
        let mut memory = self.memory.lock();
        memory.forget_before(now_ms);
        if memory.spent.contains(&claims.id) {
            return Err(TicketError::Spent);
        }
        if memory.spent.len() >= SPENT {
            return Err(TicketError::TooMany);
        }
        memory.spent.insert(claims.id);
        memory.ends.push_back((ends_ms, claims.id));
        let Claims { user, epoch, log_in, .. } = claims;
        let log_in = log_in.map(|(id, ends_ms)| ByLogIn { id, ends_ms });
        Ok(Admitted { user, epoch, log_in })
    }
}

impl Memory {
    /// Drops what has expired. Ids come nearly in the order of their ends (a ticket is redeemed
    /// up to 30 s after it was made), so an early one behind a late one waits at most that long.
    fn forget_before(&mut self, now_ms: u64) {
        while let Some((_, id)) = self.ends.pop_front_if(|(ends, _)| *ends <= now_ms) {
            self.spent.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Hands;

    struct Place {
        hands: Hands,
        tickets: Tickets,
        client: ClientId,
        admitted: Admitted,
    }

    fn life(generation: u64) -> Life {
        Life { node: "n1".parse().unwrap(), generation }
    }

    fn place() -> Place {
        let hands = Hands::at(1_000_000);
        let tickets = Tickets::new(&[1; 32], hands.clock(), life(1));
        let log_in = Some(ByLogIn { id: Uuid::from_u128(7), ends_ms: 9_000_000 });
        let admitted = Admitted { user: "ana".parse().unwrap(), epoch: Some(3), log_in };
        Place { hands, tickets, client: Uuid::from_u128(1).into(), admitted }
    }

    impl Place {
        fn issue(&self) -> String {
            self.tickets.issue(self.admitted, self.client, life(1))
        }
        fn redeem(&self, ticket: &str) -> Result<Admitted, TicketError> {
            self.tickets.redeem(ticket, self.client)
        }
    }

    #[test]
    fn a_ticket_opens_once_and_names_its_log_in_and_the_account_as_it_was() {
        let place = place();
        let ticket = place.issue();
        assert_eq!(place.redeem(&ticket), Ok(place.admitted));
        assert_eq!(place.redeem(&ticket), Err(TicketError::Spent));
        assert_eq!(place.redeem(&place.issue()), Ok(place.admitted));
    }

    #[test]
    fn of_many_at_once_one_gets_in() {
        let place = place();
        let ticket = place.issue();
        let wins = std::thread::scope(|scope| {
            let tries: Vec<_> =
                (0..8).map(|_| scope.spawn(|| place.redeem(&ticket).is_ok())).collect();
            tries.into_iter().map(|one| one.join().unwrap()).filter(|won| *won).count()
        });
        assert_eq!(wins, 1);
    }

    #[test]
    fn a_ticket_expires_and_stays_refused_when_its_memory_is_gone() {
        let place = place();
        let (spent, unspent) = (place.issue(), place.issue());
        assert!(place.redeem(&spent).is_ok());
        place.hands.pass(TICKET_MS - 1);
        assert_eq!(place.redeem(&spent), Err(TicketError::Spent));
        place.hands.pass(1);
        assert_eq!(place.redeem(&spent), Err(TicketError::Expired));
        assert_eq!(place.redeem(&unspent), Err(TicketError::Expired));
        assert!(place.redeem(&place.issue()).is_ok());
        assert_eq!(place.tickets.memory.lock().spent.len(), 1, "the expired one is forgotten");
    }

    #[test]
    fn a_ticket_is_for_one_client_and_one_life() {
        let place = place();
        let other: ClientId = Uuid::from_u128(2).into();
        assert_eq!(place.tickets.redeem(&place.issue(), other), Err(TicketError::OtherClient));
        let elsewhere = place.tickets.issue(place.admitted, place.client, life(2));
        assert_eq!(place.redeem(&elsewhere), Err(TicketError::OtherNode));
    }

    #[test]
    fn what_others_sealed_is_forged() {
        let place = place();
        let stranger = Tickets::new(&[2; 32], place.hands.clock(), life(1));
        let token = crate::seal::Sealer::new(&[1; 32], "rally token 1").seal(&"x");
        let theirs = stranger.issue(place.admitted, place.client, life(1));
        for forged in [theirs, token, String::new()] {
            assert_eq!(place.redeem(&forged), Err(TicketError::Forged));
        }
    }

    #[test]
    fn a_ticket_of_an_earlier_version_is_good_and_names_neither_epoch_nor_log_in() {
        #[derive(Serialize)]
        struct Before {
            id: Uuid,
            user: UserId,
            client: ClientId,
            life: Life,
            issued_ms: u64,
        }
        let place = place();
        let (user, client, life) = (place.admitted.user, place.client, life(1));
        let before = Before { id: Uuid::nil(), user, client, life, issued_ms: 1_000_000 };
        let ticket = place.tickets.sealer.seal(&before);
        assert_eq!(place.redeem(&ticket), Ok(Admitted { user, epoch: None, log_in: None }));
    }

    #[test]
    fn the_memory_of_spent_tickets_is_bounded() {
        let place = place();
        {
            let mut memory = place.tickets.memory.lock();
            for n in 0..SPENT as u128 {
                memory.spent.insert(Uuid::from_u128(n));
                memory.ends.push_back((1_000_000 + TICKET_MS, Uuid::from_u128(n)));
            }
        }
        assert_eq!(place.redeem(&place.issue()), Err(TicketError::TooMany));
        place.hands.pass(TICKET_MS);
        assert!(place.redeem(&place.issue()).is_ok());
    }
}
