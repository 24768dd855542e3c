//! How many catch-ups of a node read the store at once, and who goes first.
//!
//! After a node's death thousands of clients come back together, and everybody else is in doubt.
//! Whoever is not let in waits in one of three lines; each waits in no more memory than his place
//! takes. Of four places that become free the last line has one, however many keep coming back.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

/// Which line to wait in: who waits in an earlier one goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// A catch-up that has begun, and gave its place back while its client read: what is pushed
    /// meanwhile waits for its end.
    Begun,
    /// A client that has just come back.
    Reconnect,
    /// A session that is open, and only in doubt: it is pushed to while it waits.
    Doubt,
}

#[derive(Default)]
struct State {
    free: usize,
    /// How many have been let in from a line.
    passed: usize,
    /// By line.
    waiting: [VecDeque<oneshot::Sender<Permit>>; 3],
}

/// Every so many places go to the last line first.
const LAST_FIRST: usize = 4;

impl State {
    /// Takes out who is next.
    fn next(&mut self) -> Option<oneshot::Sender<Permit>> {
        self.passed = self.passed.wrapping_add(1);
        let last_first = self.passed.is_multiple_of(LAST_FIRST);
        let last = last_first.then(|| self.waiting.last_mut()?.pop_front()).flatten();
        last.or_else(|| self.waiting.iter_mut().find_map(VecDeque::pop_front))
    }
}

/// Lets a stated number in.
#[derive(Clone)]
pub struct Admission(Arc<Mutex<State>>);

/// The right to read; dropping it lets the next one in, also before whoever waits has taken it.
pub struct Permit(Option<Admission>);

impl Admission {
    /// Lets `places` in at once.
    pub fn new(places: usize) -> Self {
        Self(Arc::new(Mutex::new(State { free: places.max(1), ..State::default() })))
    }

    /// Waits for a place.
    pub async fn enter(&self, line: Line) -> Permit {
        let waits = {
            let mut state = self.state();
            if state.free > 0 {
                state.free -= 1;
                None
            } else {
                let (sender, receiver) = oneshot::channel();
                state.waiting[line as usize].push_back(sender);
                Some(receiver)
            }
        };
        match waits {
            // The sender is dropped only together with the whole node.
            Some(receiver) => receiver.await.unwrap_or(Permit(None)),
            None => Permit(Some(self.clone())),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(admission) = self.0.take() else { return };
        loop {
            let next = {
                let mut state = admission.state();
                let next = state.next();
                state.free += usize::from(next.is_none());
                next
            };
            let Some(sender) = next else { return };
            // Who has gone away meanwhile does not take the place with him.
            match sender.send(Permit(Some(admission.clone()))) {
                Ok(()) => return,
                Err(mut back) => drop(back.0.take()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test]
    async fn what_has_begun_goes_before_reconnects_and_these_before_doubts() {
        let admission = Admission::new(1);
        let first = admission.enter(Line::Doubt).await;
        let mut doubt = Box::pin(admission.enter(Line::Doubt));
        let mut reconnect = Box::pin(admission.enter(Line::Reconnect));
        let mut begun = Box::pin(admission.enter(Line::Begun));
        assert!(doubt.as_mut().now_or_never().is_none());
        assert!(reconnect.as_mut().now_or_never().is_none());
        assert!(begun.as_mut().now_or_never().is_none());
        drop(first);
        let second = begun.as_mut().now_or_never();
        assert!(second.is_some() && reconnect.as_mut().now_or_never().is_none());
        drop(second);
        let third = reconnect.as_mut().now_or_never();
        assert!(third.is_some() && doubt.as_mut().now_or_never().is_none());
        drop(third);
        assert!(doubt.now_or_never().is_some());
    }

    #[tokio::test]
    async fn the_last_line_moves_while_others_keep_coming() {
        let admission = Admission::new(1);
        let mut place = admission.enter(Line::Doubt).await;
        let mut doubt = Box::pin(admission.enter(Line::Doubt));
        for before in 1.. {
            let mut reconnect = Box::pin(admission.enter(Line::Reconnect));
            assert!(reconnect.as_mut().now_or_never().is_none());
            drop(place);
            if doubt.as_mut().now_or_never().is_some() {
                assert_eq!(before, LAST_FIRST);
                return;
            }
            place = reconnect.await;
        }
    }

    #[tokio::test]
    async fn who_gives_up_waiting_leaves_no_hole() {
        let admission = Admission::new(1);
        let first = admission.enter(Line::Doubt).await;
        let mut gone = Box::pin(admission.enter(Line::Reconnect));
        assert!(gone.as_mut().now_or_never().is_none());
        drop(gone);
        drop(first);
        assert!(admission.enter(Line::Doubt).now_or_never().is_some());
    }

    #[tokio::test]
    async fn who_goes_before_he_takes_his_place_passes_it_on() {
        let admission = Admission::new(1);
        let first = admission.enter(Line::Doubt).await;
        let mut gone = Box::pin(admission.enter(Line::Reconnect));
        assert!(gone.as_mut().now_or_never().is_none());
        drop(first);
        // The place was given to him, and he never looked.
        drop(gone);
        assert!(admission.enter(Line::Doubt).now_or_never().is_some());
    }
}
