//! The membership of nodes that share a process: a table that all of them see.
//!
//! Serves a node of its own, and tests with several, which can make a node unheard.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::unfold;
use parking_lot::Mutex;
use rally_schema::Life;
use tokio::sync::Notify;

use super::{Card, Heard, Membership};

/// The table; clones share it.
#[derive(Clone, Default)]
pub struct LocalMembership(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    cards: BTreeMap<Life, Card>,
    silent: BTreeSet<Life>,
    version: u64,
}

impl LocalMembership {
    /// Makes a life unheard, or heard again.
    pub fn silence(&self, life: Life, silent: bool) {
        self.change(|state| match silent {
            true => drop(state.silent.insert(life)),
            false => drop(state.silent.remove(&life)),
        });
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.0.state.lock();
        change(&mut state);
        state.version += 1;
        drop(state);
        self.0.changed.notify_waiters();
    }

    fn look(&self, known: u64) -> Option<(Vec<Card>, u64)> {
        let state = self.0.state.lock();
        let heard = |card: &&Card| !state.silent.contains(&card.life);
        let cards = || state.cards.values().filter(heard).cloned().collect();
        (state.version != known).then(|| (cards(), state.version))
    }
}

impl Membership for LocalMembership {
    fn announce(&self, card: Card) {
        self.change(|state| drop(state.cards.insert(card.life, card)));
    }

    fn heard(&self) -> Heard {
        unfold((self.clone(), u64::MAX), |(table, known)| async move {
            loop {
                // Registered before the look, so that no change falls between the two.
                let changed = table.0.changed.notified();
                let mut changed = std::pin::pin!(changed);
                changed.as_mut().enable();
                if let Some((cards, version)) = table.look(known) {
                    return Some((cards, (table.clone(), version)));
                }
                changed.await;
            }
        })
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;
    use crate::roles::Roles;

    fn card(node: &str) -> Card {
        let life = Life { node: node.parse().unwrap(), generation: 1 };
        let (address, version) = (String::new(), String::new());
        let (status, roles) = (Status::Ready, Roles::all());
        Card { life, status, address, roles, version, sessions: 0, most: 9, clock_ms: 0 }
    }

    #[tokio::test]
    async fn everybody_is_heard_until_silenced_and_again_after() {
        let table = LocalMembership::default();
        table.announce(card("a"));
        let mut heard = table.heard();
        assert_eq!(heard.next().await.unwrap(), [card("a")]);
        table.announce(card("b"));
        assert_eq!(heard.next().await.unwrap(), [card("a"), card("b")]);
        table.silence(card("a").life, true);
        assert_eq!(heard.next().await.unwrap(), [card("b")]);
        table.silence(card("a").life, false);
        assert_eq!(heard.next().await.unwrap(), [card("a"), card("b")]);
    }
}
