//! How a client of Rally names what it sends: stamps that only grow, by the server's time, and refs
//! that say which message of which run.

use std::time::Instant;

use rally_schema::Ref;
use uuid::Uuid;

/// The server's time, as `welcome` tells it.
pub(super) struct ServerTime {
    origin: Instant,
    /// What the server's clock was at `origin`; never later than it was.
    pub(super) at_origin_ms: u64,
}

impl ServerTime {
    /// Begins at zero: the first word of the server tells what it is.
    pub(super) fn begin() -> Self {
        Self { origin: Instant::now(), at_origin_ms: 0 }
    }

    /// Gives it, in milliseconds since 1970.
    pub(super) fn now_ms(&self) -> u64 {
        self.at_origin_ms + self.origin.elapsed().as_millis() as u64
    }

    /// Takes over what the server said that it is now.
    pub(super) fn hear(&mut self, now_ms: u64) {
        // A frame is heard after it was stamped: the largest estimate is the best.
        let at_origin_ms = now_ms.saturating_sub(self.origin.elapsed().as_millis() as u64);
        self.at_origin_ms = self.at_origin_ms.max(at_origin_ms);
    }
}

/// The stamp that a conversation's last message got.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stamper {
    at: u64,
    n: u16,
}

impl Stamper {
    /// Gives the next stamp at a moment: above every one before it.
    pub fn next(&mut self, now_ms: u64) -> (u64, u16) {
        if now_ms > self.at {
            *self = Self { at: now_ms, n: 0 };
        } else if self.n == 0xfff {
            *self = Self { at: self.at + 1, n: 0 };
        } else {
            self.n += 1;
        }
        (self.at, self.n)
    }
}

/// Gives the ref of a run's message: `half` says which run.
pub(super) fn name(half: u64, number: usize) -> Ref {
    Ref::from(Uuid::from_u64_pair(half, number as u64))
}

/// Reads the message's number in a ref, if it is of that run.
pub(super) fn number(half: u64, r#ref: Ref) -> Option<usize> {
    let (of, number) = Uuid::from(r#ref).as_u64_pair();
    (of == half).then_some(number as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_only_grow_even_when_time_stands_or_goes_back() {
        let mut stamper = Stamper::default();
        let mut last = (0, 0);
        for now in [5, 5, 5, 4, 6].into_iter().chain(std::iter::repeat_n(6, 5000)) {
            let next = stamper.next(now);
            assert!(next > last && next.1 <= 0xfff, "{next:?} after {last:?}");
            last = next;
        }
        assert_eq!(last.0, 7, "4,096 fit into a millisecond");
    }

    #[test]
    fn a_ref_names_its_message_and_its_run() {
        assert_eq!(number(3, name(3, 77)), Some(77));
        assert_eq!(number(4, name(3, 77)), None);
    }
}
