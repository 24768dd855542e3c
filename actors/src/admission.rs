//! How many catch-ups and checks of log-ins of a node read the store at once, and who goes first.
//!
//! After a node's death thousands of clients come back together, and everybody else is in doubt.
//! Whoever is not let in waits in one of three lines; each waits in no more memory than his place
//! takes. Of four places that become free each of the later lines has one, however many others there
//! are; and the last one never has more than one of four, so that those who come back find the store at
//! leisure.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

/// Which line to wait in: who waits in an earlier one goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Line {
    /// A catch-up that has begun, and gave its place back while its client read: what is pushed
    /// meanwhile waits for its end.
    Begun,
    /// A client that has just come back, or asks where it may.
    Reconnect,
    /// A session that is open, and only in doubt: it is pushed to while it waits.
    Doubt,
}

#[derive(Default)]
struct State {
    free: usize,
    /// How many more of the last line may be in.
    free_of_last: usize,
    /// How many have been let in from a line.
    passed: usize,
    /// By line.
    waiting: [VecDeque<oneshot::Sender<Permit>>; 3],
    /// At which length of a line those are taken out of it who have gone away.
    tidy_at: [usize; 3],
}

/// One of so many places goes to each of the later lines first, and the last one may have as many at
/// once.
const SHARE: usize = 4;
const HALF_SHARE: usize = SHARE / 2;

/// The least length of a line that is looked through.
const TIDY: usize = 64;

/// In the order in which they go.
const LINES: [Line; 3] = [Line::Begun, Line::Reconnect, Line::Doubt];

impl State {
    /// Takes a place for a line, if there is one for it.
    fn take(&mut self, line: Line) -> bool {
        let free = self.free > 0 && (line != Line::Doubt || self.free_of_last > 0);
        if free {
            self.free -= 1;
            self.free_of_last -= usize::from(line == Line::Doubt);
        }
        free
    }

    fn give_back(&mut self, line: Line) {
        self.free += 1;
        self.free_of_last += usize::from(line == Line::Doubt);
    }

    /// Puts somebody at the end of a line.
    fn wait(&mut self, line: Line, sender: oneshot::Sender<Permit>) {
        let (waiting, tidy_at) =
            (&mut self.waiting[line as usize], &mut self.tidy_at[line as usize]);
        // While no place becomes free, nobody else takes out who has gone away.
        if waiting.len() >= (*tidy_at).max(TIDY) {
            waiting.retain(|sender| !sender.is_closed());
            *tidy_at = 2 * waiting.len();
        }
        waiting.push_back(sender);
    }

    /// Takes out who is next, and a place for him.
    fn next(&mut self) -> Option<(Line, oneshot::Sender<Permit>)> {
        self.passed = self.passed.wrapping_add(1);
        let first = match self.passed % SHARE {
            0 => Some(Line::Doubt),
            HALF_SHARE => Some(Line::Reconnect),
            _ => None,
        };
        let line = first
            .into_iter()
            .chain(LINES)
            .find(|&line| !self.waiting[line as usize].is_empty() && self.take(line))?;
        Some((line, self.waiting[line as usize].pop_front()?))
    }
}

/// Lets a stated number in.
#[derive(Clone)]
pub struct Admission(Arc<Mutex<State>>);

/// The right to read; dropping it lets the next one in, also before whoever waits has taken it.
pub struct Permit(Option<(Admission, Line)>);

impl Admission {
    /// Lets `places` in at once.
    pub fn new(places: usize) -> Self {
        let (free, free_of_last) = (places.max(1), (places / SHARE).max(1));
        Self(Arc::new(Mutex::new(State { free, free_of_last, ..State::default() })))
    }

    /// Gives a place that nobody has to wait for, if there is one.
    pub fn try_enter(&self, line: Line) -> Option<Permit> {
        self.state().take(line).then(|| Permit(Some((self.clone(), line))))
    }

    /// Waits for a place.
    pub async fn enter(&self, line: Line) -> Permit {
        let waits = {
            let mut state = self.state();
            if state.take(line) {
                None
            } else {
                let (sender, receiver) = oneshot::channel();
                state.wait(line, sender);
                Some(receiver)
            }
        };
        match waits {
            // The sender is dropped only together with the whole node.
            Some(receiver) => receiver.await.unwrap_or(Permit(None)),
            None => Permit(Some((self.clone(), line))),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some((admission, mut line)) = self.0.take() else { return };
        loop {
            let next = {
                let mut state = admission.state();
                state.give_back(line);
                state.next()
            };
            let Some((of, sender)) = next else { return };
            // Who has gone away meanwhile does not take the place with him.
            match sender.send(Permit(Some((admission.clone(), of)))) {
                Ok(()) => return,
                Err(mut back) => drop(back.0.take()),
            }
            line = of;
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

    /// Has somebody wait in a line while others keep coming in one that goes before it; tells at which
    /// place that becomes free he is let in, if at one of the first four.
    async fn let_in_at(line: Line, before: Line) -> Option<usize> {
        let admission = Admission::new(1);
        let mut place = admission.enter(before).await;
        let mut waiting = Box::pin(admission.enter(line));
        for nth in 1..=SHARE {
            let mut next = Box::pin(admission.enter(before));
            assert!(next.as_mut().now_or_never().is_none());
            drop(place);
            if waiting.as_mut().now_or_never().is_some() {
                return Some(nth);
            }
            place = next.await;
        }
        None
    }

    #[tokio::test]
    async fn each_later_line_moves_while_others_keep_coming_in_one_before_it() {
        assert_eq!(let_in_at(Line::Doubt, Line::Reconnect).await, Some(SHARE));
        assert_eq!(let_in_at(Line::Doubt, Line::Begun).await, Some(SHARE));
        assert_eq!(let_in_at(Line::Reconnect, Line::Begun).await, Some(HALF_SHARE));
    }

    #[tokio::test]
    async fn the_last_line_leaves_most_places_to_who_comes_back() {
        let admission = Admission::new(2 * SHARE);
        let first = [admission.enter(Line::Doubt).await, admission.enter(Line::Doubt).await];
        let mut third = Box::pin(admission.enter(Line::Doubt));
        assert!(third.as_mut().now_or_never().is_none());
        let mut others = Vec::new();
        while others.len() < 2 * (SHARE - 1) {
            others.push(admission.enter(Line::Reconnect).now_or_never().expect("a place is left"));
        }
        assert!(admission.enter(Line::Reconnect).now_or_never().is_none());
        // What others give back is not for the last line, which has its share.
        drop(others);
        assert!(third.as_mut().now_or_never().is_none());
        drop(first);
        assert!(third.now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_place_that_is_asked_for_at_once_is_a_place_like_others() {
        let admission = Admission::new(1);
        let place = admission.try_enter(Line::Reconnect);
        assert!(place.is_some() && admission.try_enter(Line::Begun).is_none());
        let mut waiting = Box::pin(admission.enter(Line::Doubt));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(place);
        assert!(admission.try_enter(Line::Begun).is_none(), "it is somebody's who waited");
        assert!(waiting.now_or_never().is_some());
        assert!(admission.try_enter(Line::Reconnect).is_some());
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
    async fn who_has_gone_away_takes_no_room_although_nobody_gets_a_place() {
        let admission = Admission::new(1);
        let _place = admission.enter(Line::Reconnect).await;
        for _ in 0..100 * TIDY {
            assert!(admission.enter(Line::Reconnect).now_or_never().is_none());
        }
        assert!(admission.state().waiting[Line::Reconnect as usize].len() <= 2 * TIDY);
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
