//! What waits to be written: bounded by bytes, taken all at once.
//!
//! Whoever writes pushes a job and waits elsewhere; the commit loop takes everything that
//! waits as one group. Knows nothing of rows.

use parking_lot::{Condvar, Mutex};
use tokio::time::Instant;

use super::super::StoreError;

/// A job, and about how many bytes it keeps.
pub(super) struct Waiting<J> {
    pub(super) job: J,
    pub(super) bytes: usize,
}

/// The queue between writers and the commit loop.
pub(super) struct Queue<J> {
    limit: usize,
    state: Mutex<State<J>>,
    arrived: Condvar,
}

struct State<J> {
    jobs: Vec<Waiting<J>>,
    bytes: usize,
    open: bool,
    /// Whether the loop sleeps until something arrives; otherwise nobody need be woken.
    sleeping: bool,
}

impl<J> Queue<J> {
    pub(super) fn new(limit: usize) -> Self {
        let state = State { jobs: Vec::new(), bytes: 0, open: true, sleeping: false };
        Self { limit, state: Mutex::new(state), arrived: Condvar::new() }
    }

    /// Adds a job, unless too much waits or the queue was closed. One job always fits into an
    /// empty queue, however large it is.
    pub(super) fn push(&self, job: Waiting<J>) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        if !state.open || (!state.jobs.is_empty() && state.bytes + job.bytes > self.limit) {
            return Err(StoreError::Busy);
        }
        state.bytes += job.bytes;
        state.jobs.push(job);
        if std::mem::take(&mut state.sleeping) {
            drop(state);
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Waits for a job, then until `not_before` unless `enough` wait already, and takes all into
    /// the empty `jobs`. Gives `false` once the queue is closed and empty.
    pub(super) fn take(
        &self,
        not_before: Instant,
        enough: usize,
        jobs: &mut Vec<Waiting<J>>,
    ) -> bool {
        let mut state = self.state.lock();
        while state.jobs.is_empty() {
            if !state.open {
                return false;
            }
            state.sleeping = true;
            self.arrived.wait(&mut state);
        }
        if state.open && state.jobs.len() < enough {
            let pause = not_before.saturating_duration_since(Instant::now());
            if !pause.is_zero() {
                drop(state);
                std::thread::sleep(pause);
                state = self.state.lock();
            }
        }
        std::mem::swap(&mut state.jobs, jobs);
        state.bytes = 0;
        true
    }

    /// Refuses everything from now on; what waits is still taken.
    pub(super) fn close(&self) {
        self.state.lock().open = false;
        self.arrived.notify_one();
    }

    /// Tells how many jobs wait, and how many bytes they keep.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.jobs.len(), state.bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn waiting(job: u32, bytes: usize) -> Waiting<u32> {
        Waiting { job, bytes }
    }

    fn taken(queue: &Queue<u32>) -> Vec<u32> {
        let mut jobs = Vec::new();
        queue.take(Instant::now(), 1, &mut jobs);
        jobs.into_iter().map(|waiting| waiting.job).collect()
    }

    #[test]
    fn all_that_waits_is_one_group_in_order() {
        let queue = Queue::new(100);
        (0..3).for_each(|n| queue.push(waiting(n, 10)).unwrap());
        assert_eq!(queue.waiting(), (3, 30));
        assert_eq!(taken(&queue), [0, 1, 2]);
        assert_eq!(queue.waiting(), (0, 0));
    }

    #[test]
    fn a_full_queue_is_busy_and_keeps_what_it_has() {
        let queue = Queue::new(100);
        queue.push(waiting(1, 60)).unwrap();
        assert_eq!(queue.push(waiting(2, 60)), Err(StoreError::Busy));
        queue.push(waiting(3, 40)).unwrap();
        assert_eq!(taken(&queue), [1, 3]);
        queue.push(waiting(4, 1_000)).unwrap();
        assert_eq!(taken(&queue), [4]);
    }

    #[test]
    fn a_closed_queue_hands_out_what_it_has_and_takes_no_more() {
        let queue = Queue::new(100);
        queue.push(waiting(1, 1)).unwrap();
        queue.close();
        assert_eq!(queue.push(waiting(2, 1)), Err(StoreError::Busy));
        assert_eq!(taken(&queue), [1]);
        assert!(!queue.take(Instant::now(), 1, &mut Vec::new()));
    }

    #[test]
    fn what_arrives_before_its_time_is_gathered_unless_enough_wait() {
        let queue = Queue::new(100);
        let begun = Instant::now();
        let later = begun + Duration::from_millis(20);
        let mut jobs = Vec::new();
        queue.push(waiting(1, 1)).unwrap();
        queue.take(later, 2, &mut jobs);
        assert!(begun.elapsed() >= Duration::from_millis(20));
        jobs.clear();
        (0..2).for_each(|n| queue.push(waiting(n, 1)).unwrap());
        queue.take(begun + Duration::from_secs(3600), 2, &mut jobs);
        assert_eq!(jobs.len(), 2);
    }

    #[test]
    fn a_sleeping_loop_is_woken() {
        let queue = Queue::new(100);
        std::thread::scope(|scope| {
            let taken = scope.spawn(|| taken(&queue));
            queue.push(waiting(7, 1)).unwrap();
            assert_eq!(taken.join().unwrap(), [7]);
        });
    }
}
