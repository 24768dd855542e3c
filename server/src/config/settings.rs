//! Every setting of the program, one line each.
//!
//! The table below is the only definition: flags, environment variables, keys of the file and
//! `--help` follow from it. A unit stands in the name. Knows nothing of
//! where a value comes from.

use std::net::SocketAddr;
use std::path::PathBuf;

use rally_cluster::roles::Roles;
use rally_schema::NodeId;

use super::table::{Setting, settings};
use super::value::{
    self, Auto, BrokerKind, Directives, Domain, Durability, LogFormat, Name, Place, Placement,
    StoreKind, Value, Word,
};
use crate::origin::Origin;
use crate::secret::Secret;

settings! {
    /// Where the node listens, and under which name others reach it.
    network: Network = "Network" {
        /// Address and port to listen on; port 0 takes a free one.
        listen: SocketAddr = "127.0.0.1:8080";
        /// How browsers reach the node, when a proxy or a host name is in between. With https, cookies are Secure.
        public_url: Option<Origin> = "none";
        /// Origins of pages that may use the node, besides its own.
        origins: Vec<Origin> = "none";
        /// Domain of the log-in cookie, when nodes have names of their own below it; none ties a log-in to one host name.
        cookie_domain: Option<Domain> = "none";
        /// Proxies in front that append to X-Forwarded-For; rate limits then go by what the outermost saw.
        trusted_hops: u8 = "0" in 0..=8;
        /// Threads that serve connections; auto is one, which costs the least CPU a message.
        workers: Auto<usize> = "auto" in 1..=256;
        /// Connections that the node holds at once.
        max_connections: usize = "100000" in 1..=10_000_000;
        /// Connections of one address that speak HTTP at once; without effect behind proxies that are trusted.
        max_http_connections_address: usize = "1024" in 1..=10_000_000;
    }

    /// Who the node is, and how it comes and goes.
    node: Node = "Node" {
        /// Name of the node, the same in every run.
        node: NodeId = "rally";
        /// What the process does: all, or some of chat, messaging, presence and discovery; the others of the cluster do the rest.
        roles: Roles = "all";
        /// Creates five demo users, offers them on the log-in page, and lists everybody to everybody.
        demo: bool = "false";
        /// Tolerance about time (W) from which all others follow; the same on all nodes.
        overlap_ms: u64 = "30000" in 1_000..=600_000;
        /// Starts although the clock is more than a day behind what the store has seen.
        accept_clock_behind: bool = "false";
        /// On SIGTERM, time over which sessions are sent away.
        drain_ms: u64 = "5000" in 0..=600_000;
    }

    /// Where data is kept, and how it is written.
    store: Store = "Store" {
        /// Where data is kept: embedded, in a folder of this node's, or cassandra, shared by the nodes of a cluster.
        store: StoreKind = "embedded";
        /// Nodes of Cassandra or ScyllaDB that are asked first.
        cassandra: Vec<Place> = "127.0.0.1:9042";
        /// Keyspace, made when it does not exist.
        cassandra_keyspace: Name = "rally";
        /// Copies of every row, on as many nodes of Cassandra; a keyspace keeps the number that it was made with.
        cassandra_replication: u8 = "3" in 1..=9;
        /// Data center whose nodes are read and written; none takes that of the first node asked.
        cassandra_datacenter: Option<Word> = "none";
        /// Whom to log in to Cassandra as.
        cassandra_user: Option<Word> = "none";
        /// Password of that user.
        cassandra_password: Option<Secret<String>> = "none";
        /// Folder of the embedded store.
        data_dir: PathBuf = ".rally";
        /// When a message is acknowledged: once the disk has it (sync), or the operating system (os).
        durability: Durability = "sync";
        /// Least time between two syncs, in microseconds, unless 128 writes wait: what arrives meanwhile shares the second.
        group_interval_us: u64 = "10000" in 0..=100_000;
        /// Bytes of writes that may wait for the disk before senders are told that the store is busy.
        commit_queue_bytes: usize = "33554432" in 65_536..=4_294_967_296;
        /// Bytes of the store's blocks that are kept in memory.
        cache_bytes: u64 = "67108864" in 1_048_576..=1_099_511_627_776;
        /// Writes that each worker has in flight; of requests to Cassandra the node has three times as many.
        commits_in_flight: usize = "8192" in 1..=1_000_000;
        /// Time for which one attempt to write waits for the store.
        commit_timeout_ms: u64 = "10000" in 100..=600_000;
        /// Time for which a write is repeated before its sender is told that its fate is unknown.
        commit_give_up_ms: u64 = "20000" in 100..=600_000;
    }

    /// The other nodes.
    cluster: Cluster = "Cluster" {
        /// What carries envelopes between nodes: local when this one is alone, or rabbitmq.
        broker: BrokerKind = "local";
        /// Where RabbitMQ is, and as whom to log in; of a cluster each broker, with commas.
        amqp_url: Secret<String> = "amqp://guest:guest@127.0.0.1:5672/%2f";
        /// Name of the cluster: nodes of another are not heard.
        cluster: Name = "rally";
        /// Address and port for gossip, by UDP.
        gossip_listen: SocketAddr = "127.0.0.1:7946";
        /// Where other nodes reach that, if elsewhere.
        gossip_address: Option<SocketAddr> = "none";
        /// Gossip addresses of nodes that are asked for the others.
        seeds: Vec<Place> = "none";
        /// Where clients are placed: home, the node where their user's pushes arrive, or round-robin.
        placement: Placement = "home";
        /// Token that opens /admin; none closes it.
        admin_token: Option<Secret<String>> = "none";
    }

    /// Sessions: the connections of clients.
    sessions: Sessions = "Sessions" {
        /// How often the node pings a connection.
        ping_interval_ms: u64 = "10000" in 100..=600_000;
        /// Silence after which a session is over.
        silence_ms: u64 = "25000" in 200..=3_600_000;
        /// Time for which a user stays online after the last session went, so that a reload does not flicker.
        presence_grace_ms: u64 = "5000" in 0..=600_000;
        /// How often a connected session reads from the store what it may have missed.
        sync_interval_ms: u64 = "300000" in 1_000..=86_400_000;
        /// Bytes that may wait for one slow connection before it has to catch up from the store instead.
        out_budget_bytes: usize = "262144" in 16_384..=67_108_864;
        /// Catch-ups, and checks of log-ins by discovery, that read the store at the same time.
        catch_ups_at_once: usize = "64" in 1..=100_000;
        /// Time for which ticks are gathered before they are written.
        marks_window_ms: u64 = "50" in 0..=10_000;
        /// Time for which the node believes that a user may be written to; a block is felt no later.
        reach_cache_ms: u64 = "10000" in 0..=600_000;
    }

    /// How often something may be done.
    limits: Limits = "Rate limits" {
        /// Sends, edits and deletions of one user, on the average.
        rate_sends_per_second: u32 = "20" in 1..=1_000_000;
        /// Sends, edits and deletions of one user at once.
        rate_sends_burst: u32 = "100" in 1..=1_000_000;
        /// Frames of one session, on the average; reading from it waits beyond that.
        rate_frames_per_second: u32 = "200" in 1..=1_000_000;
        /// Frames of one session at once.
        rate_frames_burst: u32 = "1000" in 1..=1_000_000;
        /// Attempts to log in as one user from one address, and as many at once; twenty times as many
        /// from all addresses together.
        rate_logins_per_minute_user: u32 = "10" in 1..=1_000_000;
        /// Attempts to log in from one address, and as many at once.
        rate_logins_per_minute_address: u32 = "60" in 1..=1_000_000;
        /// Attempts to register from one address, and as many at once.
        rate_registers_per_minute_address: u32 = "20" in 1..=1_000_000;
        /// HTTP requests of one user, on the average.
        rate_requests_per_second_user: u32 = "20" in 1..=1_000_000;
        /// HTTP requests of one user at once.
        rate_requests_burst_user: u32 = "100" in 1..=1_000_000;
        /// HTTP requests from one address to the API, on the average; and as many for pages and WebSockets.
        rate_requests_per_second_address: u32 = "100" in 1..=1_000_000;
        /// HTTP requests from one address to the API at once.
        rate_requests_burst_address: u32 = "500" in 1..=1_000_000;
        /// Users or addresses that one rate limit remembers; the longest idle are forgotten first.
        rate_keys: usize = "100000" in 16..=10_000_000;
    }

    /// Accounts and log-ins.
    accounts: Accounts = "Accounts" {
        /// Lets anybody register; false leaves it to `users import`.
        registration: bool = "true";
        /// Days for which a log-in is good.
        session_days: u64 = "30" in 1..=3_650;
        /// Passwords that are hashed at the same time, 19 MiB each; auto is half of the cores.
        password_hash_concurrency: Auto<usize> = "auto" in 1..=256;
        /// Log-ins that may wait for the hashing of a password; the next is told to come back later.
        password_hash_waiting: usize = "64" in 0..=100_000;
    }

    /// What the operator sees.
    telemetry: Telemetry = "Logs and traces" {
        /// How log lines look: text for people, or json.
        log_format: LogFormat = "text";
        /// Which log lines are written.
        log_filter: Directives = "info,scylla=error";
        /// Collector that traces are sent to, by OTLP over gRPC.
        otlp_endpoint: Option<Origin> = "none";
        /// Share of the traces that begin here which are sent.
        trace_ratio: f64 = "1" in 0.0..=1.0;
        /// Sends, of the traces that are not, this node's part when it took longer than this, or failed; all spans are then made and held until that is known.
        trace_slow_ms: Option<u64> = "none" in 0..=3_600_000;
    }
}
