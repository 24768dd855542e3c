//! What a person notices, and what the machine does: how long a message takes, how much memory.

use std::time::Duration;

use tokio::time::{Instant, interval, sleep};

use super::{Client, Server};

/// How much slower others may become: generous, for a machine that does other things too.
pub fn is_near(slow: Duration, usual: Duration) -> bool {
    slow <= usual * 4 + Duration::from_millis(25)
}

/// Writes from one client to another, at an even pace, until `end`; gives the median time from
/// sending to hearing.
pub async fn pulse(from: &mut Client, to: &mut Client, end: Instant) -> Duration {
    let mut pace = interval(Duration::from_millis(60));
    let mut times = Vec::new();
    while Instant::now() < end {
        pace.tick().await;
        let text = format!("pulse {}", times.len());
        let begun = Instant::now();
        let draft = from.draft(to.user.as_str(), &text);
        from.tell(draft.clone()).await;
        to.hears(&text).await;
        times.push(begun.elapsed());
        from.acked(draft.r#ref).await;
    }
    times.sort();
    times[times.len() / 2]
}

/// Samples the server's memory until `end`; gives the most.
pub async fn peak(server: &Server, end: Instant) -> u64 {
    let mut most = 0;
    while Instant::now() < end {
        most = most.max(server.rss());
        sleep(Duration::from_millis(50)).await;
    }
    most
}
