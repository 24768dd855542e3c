//! What an operator may set about sessions and routers; defaults are the documented ones.

use rally_schema::limits::Overlap;

/// Settings of the actors of one node.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The overlap `W`.
    pub overlap: Overlap,
    /// How often the node pings a socket.
    pub ping_interval_ms: u64,
    /// After how much silence a session is over.
    pub silence_ms: u64,
    /// How long a user stays online after his last session went.
    pub presence_grace_ms: u64,
    /// How often a connected session catches up without a doubt.
    pub sync_interval_ms: u64,
    /// Pushes that may wait in a session's mailbox; beyond it the session is in doubt. About what the
    /// outgoing budget takes of short messages: who is written to a thousand times a second needs no
    /// catch-up because his thread stood still for a moment.
    pub session_mailbox: usize,
    /// Pushes that may wait in a router's mailbox; beyond it its user is in doubt.
    pub router_mailbox: usize,
    /// Bytes of pushes that may wait for one session.
    pub out_budget_bytes: usize,
    /// Sends, edits and deletions of one user per second, on the average.
    pub sends_per_second: u32,
    /// Sends, edits and deletions that one user may make at once.
    pub sends_burst: u32,
    /// Frames of one session per second, on the average; reading waits beyond that.
    pub frames_per_second: u32,
    /// Frames that one session may send at once.
    pub frames_burst: u32,
    /// Catch-ups of one node that read the store at the same time.
    pub catch_ups_at_once: usize,
    /// For how long a recipient's answer to "may I write to you" is believed.
    pub reach_cache_ms: u64,
    /// For how long marks are gathered before they are written.
    pub marks_window_ms: u64,
    /// Writes that one committer has in flight.
    pub commits_in_flight: usize,
    /// For how long an attempt to write waits for the store.
    pub commit_timeout_ms: u64,
    /// For how long a write is repeated before it is answered `unknown`.
    pub commit_give_up_ms: u64,
    /// Over how long the sessions of a leaving node are sent away.
    pub drain_ms: u64,
    /// Sessions that the node may hold: whoever places clients is told, and whoever takes sockets sees
    /// to it.
    pub most_sessions: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            overlap: Overlap::default(),
            ping_interval_ms: 10_000,
            silence_ms: 25_000,
            presence_grace_ms: 5_000,
            sync_interval_ms: 300_000,
            session_mailbox: 1_024,
            router_mailbox: 1_024,
            out_budget_bytes: 256 * 1024,
            sends_per_second: 20,
            sends_burst: 100,
            frames_per_second: 200,
            frames_burst: 1_000,
            catch_ups_at_once: 64,
            reach_cache_ms: 10_000,
            marks_window_ms: 50,
            commits_in_flight: 8_192,
            commit_timeout_ms: 10_000,
            commit_give_up_ms: 20_000,
            drain_ms: 5_000,
            most_sessions: u32::MAX,
        }
    }
}
