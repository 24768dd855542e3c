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
    /// How many jobs wake the loop that sleeps; more than there can be while it is awake.
    wanted: usize,
}

/// What is wanted while the loop does not sleep: nobody need wake it.
const AWAKE: usize = usize::MAX;

impl<J> Queue<J> {
    pub(super) fn new(limit: usize) -> Self {
        let state = State { jobs: Vec::new(), bytes: 0, open: true, wanted: AWAKE };
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
        if state.jobs.len() >= state.wanted {
            state.wanted = AWAKE;
            drop(state);
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Waits for a job, then until `not_before` or until `enough` wait, and takes all into the
    /// empty `jobs`. Gives `false` once the queue is closed and empty.
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
            state.wanted = 1;
            self.arrived.wait(&mut state);
        }
        while state.open && state.jobs.len() < enough && Instant::now() < not_before {
            state.wanted = enough;
            self.arrived.wait_until(&mut state, not_before.into_std());
        }
        state.wanted = AWAKE;
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

    const AN_HOUR: Duration = Duration::from_secs(3600);

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
        queue.take(begun + AN_HOUR, 2, &mut jobs);
        assert_eq!(jobs.len(), 2);
    }

    /// Has a loop gather until so many wait, and tells how many it takes after `end`.
    fn gathered(queue: &Queue<u32>, enough: usize, end: impl FnOnce()) -> usize {
        queue.push(waiting(0, 1)).unwrap();
        std::thread::scope(|scope| {
            let taken = scope.spawn(|| {
                let mut jobs = Vec::new();
                queue.take(Instant::now() + AN_HOUR, enough, &mut jobs);
                jobs.len()
            });
            while queue.state.lock().wanted != enough {
                std::thread::yield_now();
            }
            end();
            taken.join().unwrap()
        })
    }

    #[test]
    fn a_loop_that_gathers_goes_on_as_soon_as_enough_wait_or_it_is_closed() {
        let queue = Queue::new(100);
        let two = || (1..3).for_each(|n| queue.push(waiting(n, 1)).unwrap());
        assert_eq!(gathered(&queue, 3, two), 3);
        assert_eq!(gathered(&queue, 2, || queue.close()), 1);
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
