//! What the handlers share, and what they ask of the node behind them.
//!
//! Put together once a process by whoever builds the node; knows no actor.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use rally_actors::admission::Admission;
use rally_actors::incidents::Incident;
use rally_actors::router::LogOut;
use rally_cluster::clock::Clock;
use rally_cluster::membership::Card;
use rally_cluster::membership::roster::Member;
use rally_cluster::placement::{Passed, Policy};
use rally_cluster::presence::Seen;
use rally_cluster::roles::Role;
use rally_cluster::store::{PresenceRow, Store, UserRow};
use rally_schema::{Life, UserId};

use super::admin::Looks;
use super::health::LastCheck;
use super::metrics::HttpMetrics;
use crate::config::Settings;
use crate::limits::HttpLimits;
use crate::passwords::Passwords;
use crate::tickets::Tickets;
use crate::tokens::Tokens;

/// What HTTP tells the node, and asks of it. Calls must not block.
pub trait NodeControl: Send + Sync + 'static {
    /// Gives the places of those who read the store when they come back.
    fn admission(&self) -> Admission;

    /// Ends every live session of the user whose log-in is over, on every node.
    fn log_out_everywhere(&self, user: UserId, over: LogOut);

    /// Hears that an account's name or settings changed.
    fn account_changed(&self, account: &UserRow);

    /// Hears that `user` blocked or unblocked `blocked`.
    fn block_changed(&self, user: UserId, blocked: UserId, on: bool);

    /// Says whether the parts that must run are running (the commit loop above all), or which
    /// is not.
    fn alive(&self) -> Result<(), String>;

    /// Chooses the node for a user's client; `None` when none takes users.
    fn place(&self, user: UserId) -> Option<Card>;

    /// Gives how every life of the cluster stands, as this node sees it.
    fn members(&self) -> Vec<Member>;

    /// Gives the origins under which clients reach the living nodes.
    fn addresses(&self) -> Vec<String>;

    /// Gives how far the clocks of other lives are ahead of this one's, in milliseconds.
    fn clocks(&self) -> BTreeMap<Life, i64>;

    /// Says how a user's client would be placed now, and why; places nobody.
    fn consider(&self, user: UserId) -> Placed;

    /// Gives what went wrong lately, the newest first.
    fn incidents(&self) -> Vec<Incident>;

    /// Hears what could not be done because the store failed, and why.
    fn store_failed(&self, what: &str, why: &str);

    /// Gives the origins of which pages may be open, those of dead nodes too.
    fn page_origins(&self) -> Vec<String>;

    /// Gives the origins of those that have a role.
    fn addresses_of(&self, role: Role) -> Vec<String>;

    /// Gives what is known of a user's presence, from the rows that nodes wrote.
    fn seen(&self, user: UserId, rows: &[PresenceRow]) -> Seen;

    /// Says whether the node takes users, or why not (starting, draining, its clock is off).
    fn ready(&self) -> Result<(), String>;
}

/// How a user's client would be placed.
pub struct Placed {
    /// Where his pushes arrive.
    pub home: Life,
    /// How nodes are chosen.
    pub policy: Policy,
    /// Where his next client would be sent; `None` when no node takes users.
    pub chosen: Option<Life>,
    /// All lives in the order in which they are considered, and why they are passed over.
    pub candidates: Vec<(Member, Option<Passed>)>,
}

/// Everything that handlers use.
pub struct HttpState {
    /// The settings that hold.
    pub settings: Arc<Settings>,
    /// Where accounts are.
    pub store: Arc<dyn Store>,
    /// The node's clock.
    pub clock: Clock,
    /// This run of the node.
    pub life: Life,
    /// The actors' side.
    pub node: Arc<dyn NodeControl>,
    /// Log-ins.
    pub tokens: Tokens,
    /// Rights to open a socket; the sessions redeem what discovery issues.
    pub tickets: Arc<Tickets>,
    /// Hashing.
    pub passwords: Passwords,
    /// Rates.
    pub limits: HttpLimits,
    /// What is counted here.
    pub metrics: HttpMetrics,
    /// Everything that `/metrics` shows.
    pub registry: Arc<Registry>,
    /// What the counters said when an operator looked.
    pub(super) looks: Mutex<Looks>,
    /// What the store's last check said.
    pub(super) checked: LastCheck,
}

impl HttpState {
    /// Puts the state together; `registry` already holds `metrics` and whatever else is counted.
    pub fn new(
        settings: Arc<Settings>,
        store: Arc<dyn Store>,
        clock: Clock,
        tickets: Arc<Tickets>,
        node: Arc<dyn NodeControl>,
        (metrics, registry): (HttpMetrics, Arc<Registry>),
    ) -> Self {
        let accounts = &settings.accounts;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let at_once = accounts.password_hash_concurrency.0.unwrap_or(cores.div_ceil(2));
        Self {
            life: tickets.life(),
            tokens: Tokens::new(store.clone(), clock.clone(), accounts.session_days),
            passwords: Passwords::new(at_once, accounts.password_hash_waiting),
            limits: HttpLimits::new(&settings.limits, &clock),
            looks: Mutex::new(Looks::since_start(clock.monotonic_ms())),
            settings,
            store,
            clock,
            node,
            tickets,
            metrics,
            registry,
            checked: LastCheck::default(),
        }
    }
}
