//! Which RabbitMQ is asked for a connection, and when.
//!
//! Every address is one of the same RabbitMQ cluster. A connection that is lost is made anew at the
//! next address at once; when all were tried since the last wait, it is waited first.

use std::sync::Arc;
use std::time::Duration;

use super::{AmqpUrl, Options};

/// The first limit of the waits.
const LEAST: Duration = Duration::from_millis(100);

/// The attempts at one connection that is kept for ever.
pub(super) struct Attempts {
    options: Arc<Options>,
    next: usize,
    since_wait: usize,
    limit: Duration,
}

impl Attempts {
    pub(super) fn new(options: Arc<Options>) -> Self {
        let limit = LEAST.min(options.reconnect_most);
        Self { options, next: 0, since_wait: 0, limit }
    }

    /// Gives the address to ask now, after a wait where one is due: drawn between nothing and a
    /// limit that doubles, so that nodes which lost the same broker do not come back at once.
    pub(super) async fn next(&mut self) -> AmqpUrl {
        let count = self.options.urls.len();
        if self.since_wait >= count {
            self.since_wait = 0;
            tokio::time::sleep(self.limit.mul_f64(rand::random::<f64>())).await;
            self.limit = (self.limit * 2).min(self.options.reconnect_most);
        }
        self.since_wait += 1;
        self.next += 1;
        self.options.urls.nth(self.next - 1).clone()
    }

    /// Takes in how long a connection lasted. One that ended as soon as it was made counts as a
    /// failed attempt: else a broker that ends each of them would be asked without a pause.
    pub(super) fn lasted(&mut self, time: Duration) {
        if time > self.options.reconnect_most {
            *self = Self { next: self.next, ..Self::new(self.options.clone()) };
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const MOST: Duration = Duration::from_secs(5);

    fn attempts(urls: &str) -> Attempts {
        let options = Options { reconnect_most: MOST, ..Options::new(urls.parse().unwrap()) };
        Attempts::new(Arc::new(options))
    }

    /// Makes attempts; gives whom they asked, and how long each was waited for.
    async fn make(attempts: &mut Attempts, count: usize) -> Vec<(String, Duration)> {
        let mut made = Vec::new();
        for _ in 0..count {
            let begun = Instant::now();
            made.push((attempts.next().await.to_string(), begun.elapsed()));
        }
        made
    }

    #[tokio::test(start_paused = true)]
    async fn all_are_asked_in_turn_and_it_is_waited_after_each_round() {
        let mut attempts = attempts("amqp://a,amqp://b,amqp://c");
        let made = make(&mut attempts, 300).await;
        for (nth, (url, waited)) in made.iter().enumerate() {
            assert_eq!(*url, made[nth % 3].0);
            assert!(nth % 3 == 0 || waited.is_zero(), "{nth}: {waited:?}");
            assert!(*waited <= MOST, "{waited:?}");
        }
        assert!(made[0].1.is_zero(), "the first is asked at once");
        assert!(made[3].1 <= LEAST, "the first wait is short: {:?}", made[3].1);
        assert!(made.iter().any(|(_, waited)| *waited > MOST / 2), "the limit is reached");
        assert!(made[30..].iter().step_by(3).any(|(_, waited)| *waited < MOST / 4), "it is drawn");
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_connection_that_lasted_lets_the_next_be_made_at_once() {
        let mut attempts = attempts("amqp://a,amqp://b");
        let first = make(&mut attempts, 40).await;
        attempts.lasted(MOST);
        assert!(make(&mut attempts, 1).await[0].1 > Duration::ZERO, "it ended at once");
        attempts.lasted(MOST * 2);
        let then = make(&mut attempts, 3).await;
        assert_eq!(then[0].0, first[1].0, "the other one is asked");
        assert!(then[0].1.is_zero() && then[1].1.is_zero());
        assert!(then[2].1 <= LEAST, "the waits begin anew: {:?}", then[2].1);
    }
}
