//! Whether the checker itself kept up: what it heard late because it did not run is no fault of the
//! cluster's, and counts as if a node had stood still.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use actix_rt::time::sleep;
use rally_proof::Span;

use super::line::Record;
use super::tell;

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(100);

/// A look that comes so much later found the checker standing still.
const LATE_MS: u64 = 250;

/// When the checker did not run.
#[derive(Default)]
pub struct Late(RefCell<Vec<Span>>);

impl Late {
    /// Watches for ever.
    pub async fn watch(self: Rc<Self>, record: Rc<Record>) {
        loop {
            let due_ms = record.now_ms() + LOOK.as_millis() as u64;
            sleep(LOOK).await;
            self.look(due_ms, record.now_ms());
        }
    }

    /// Takes down a look, unless it came when it was due.
    fn look(&self, due_ms: u64, now_ms: u64) {
        if now_ms > due_ms + LATE_MS {
            self.0.borrow_mut().push(Span { from_ms: due_ms, to_ms: now_ms });
        }
    }

    /// Gives when it did not run, and says so: who sees much of it has too little machine.
    pub fn spans(&self) -> Vec<Span> {
        let spans = self.0.take();
        let sum_ms: u64 = spans.iter().map(|span| span.to_ms - span.from_ms).sum();
        if sum_ms > 0 {
            let count = spans.len();
            tell(&format!("the checker itself stood still {count} times, {sum_ms} ms together"));
        }
        spans
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_looks_that_come_late_are_taken_down_from_when_they_were_due() {
        let late = Late::default();
        for (due_ms, now_ms) in [(100, 100), (200, 450), (500, 751)] {
            late.look(due_ms, now_ms);
        }
        assert_eq!(late.spans(), [Span { from_ms: 500, to_ms: 751 }]);
        assert_eq!(late.spans(), []);
    }

    #[actix_rt::test]
    async fn a_thread_that_is_held_up_is_late() {
        let (late, record) = (Rc::new(Late::default()), Rc::new(Record::new()));
        let watch = actix_rt::spawn(late.clone().watch(record));
        sleep(LOOK / 2).await;
        std::thread::sleep(LOOK + 2 * Duration::from_millis(LATE_MS));
        sleep(LOOK).await;
        watch.abort();
        let spans = late.spans();
        assert!(spans.iter().any(|span| span.to_ms - span.from_ms > LATE_MS), "{spans:?}");
    }
}
