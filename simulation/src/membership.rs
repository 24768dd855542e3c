//! The gossip of a simulated cluster: cards cross every fifth of a second, unless they do not.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::unfold;
use parking_lot::Mutex;
use rally_cluster::membership::{Card, Heard, Membership};
use rally_schema::Life;
use tokio::time::{Duration, Instant, sleep};

use crate::world::World;

/// How often cards cross.
const ROUND: Duration = Duration::from_millis(200);

/// How long a silent life is still taken for heard.
const PATIENCE: Duration = Duration::from_secs(1);

/// The cards of all nodes; clones share them.
#[derive(Clone)]
pub struct Board(Arc<Inner>);

struct Inner {
    world: World,
    cards: Mutex<BTreeMap<Life, Card>>,
}

impl Board {
    /// Makes one without cards.
    pub fn new(world: World) -> Self {
        Self(Arc::new(Inner { world, cards: Mutex::default() }))
    }

    /// Gives a life its place.
    pub fn join(&self, life: Life) -> SimMembership {
        SimMembership { board: self.clone(), life }
    }
}

/// One life's place.
pub struct SimMembership {
    board: Board,
    life: Life,
}

/// What a life has heard.
struct Ears {
    board: Board,
    life: Life,
    heard: BTreeMap<Life, (Instant, Card)>,
    told: Option<Vec<Card>>,
}

impl Ears {
    fn listen(&mut self) -> Vec<Card> {
        let Inner { world, cards } = &*self.board.0;
        let now = Instant::now();
        for (life, card) in cards.lock().iter() {
            let mute = world.is_dead(*life) || world.is_paused(life.node);
            if !mute && world.hears(self.life.node, life.node) {
                self.heard.insert(*life, (now, card.clone()));
            }
        }
        self.heard.retain(|_, (at, _)| *at + PATIENCE > now);
        self.heard.values().map(|(_, card)| card.clone()).collect()
    }
}

impl Membership for SimMembership {
    fn announce(&self, card: Card) {
        if !self.board.0.world.is_dead(self.life) {
            self.board.0.cards.lock().insert(self.life, card);
        }
    }

    fn heard(&self) -> Heard {
        let (board, life) = (self.board.clone(), self.life);
        let ears = Ears { board, life, heard: BTreeMap::new(), told: None };
        unfold(ears, |mut ears| async move {
            loop {
                let cards = ears.listen();
                if ears.told.as_ref() != Some(&cards) {
                    ears.told = Some(cards.clone());
                    return Some((cards, ears));
                }
                sleep(ROUND).await;
            }
        })
        .boxed()
    }
}
