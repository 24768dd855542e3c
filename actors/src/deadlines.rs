//! Deadlines of connections that are silent, hardly any of which ever come.
//!
//! Timers of the runtime hang in lists that run through the tasks themselves: as four seconds' worth
//! of them come near, all are moved at once, which touches the memory of every one of ten thousand
//! connections that have long been silent. Everybody else on the thread waits for that. Here
//! deadlines stand in one heap, so that only those are touched whose time is up, a few in each turn.
//!
//! A deadline has one place, which is given up with it. The heap forgets late, but never holds
//! more than twice as many as wait, and a few.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use slab::Slab;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// How many are woken at most in one turn of the thread.
const A_TURN: usize = 8;

/// What the heap may hold of those who have left, beside as many as wait.
const SOME: usize = 64;

/// Waits for `work`, but not beyond `deadline`.
///
/// Panics when the thread runs no `LocalSet`, which every thread of actix does.
pub async fn before<F: Future>(deadline: Instant, work: F) -> Option<F::Output> {
    let mut work = pin!(work);
    let mut until = until(deadline);
    futures_util::future::poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Pin::new(&mut until).poll(cx).map(|()| None),
    })
    .await
}

/// Waits until `deadline`.
///
/// Panics when the thread runs no `LocalSet`, which every thread of actix does.
pub fn until(deadline: Instant) -> Until {
    Until { line: LINE.with(Rc::clone), deadline, key: None }
}

/// Is over at its deadline.
pub struct Until {
    line: Rc<Line>,
    deadline: Instant,
    key: Option<usize>,
}

impl Future for Until {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.deadline {
            return Poll::Ready(());
        }
        match self.key {
            Some(key) => self.line.waiting.borrow_mut().wait_on(key, cx.waker()),
            None => self.key = Some(self.line.join(self.deadline, cx.waker().clone())),
        }
        Poll::Pending
    }
}

impl Drop for Until {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.line.waiting.borrow_mut().leave(key);
        }
    }
}

thread_local! {
    static LINE: Rc<Line> = Rc::default();
}

/// The deadlines of one thread.
#[derive(Default)]
struct Line {
    waiting: RefCell<Waiting>,
    /// Told when a deadline comes sooner than all others.
    sooner: Notify,
    is_kept: Cell<bool>,
}

#[derive(Default)]
struct Waiting {
    /// Who is woken when; nobody twice.
    entries: Slab<(Instant, Option<Waker>)>,
    /// The soonest on top. A key that was given up, or has a new holder, has no such deadline; or the
    /// very same, and then nobody is woken twice.
    due: BinaryHeap<Reverse<(Instant, usize)>>,
}

impl Line {
    /// Takes a place.
    fn join(self: &Rc<Self>, deadline: Instant, waker: Waker) -> usize {
        let mut waiting = self.waiting.borrow_mut();
        let is_soonest = waiting.soonest().is_none_or(|soonest| deadline < soonest);
        let key = waiting.entries.insert((deadline, Some(waker)));
        waiting.due.push(Reverse((deadline, key)));
        waiting.forget();
        if !self.is_kept.replace(true) {
            actix::spawn(Keeping(self.clone()).keep());
        } else if is_soonest {
            self.sooner.notify_one();
        }
        key
    }
}

/// Somebody keeps the deadlines of a thread, until this is dropped.
struct Keeping(Rc<Line>);

impl Keeping {
    /// Wakes whose time is up, until the heap is empty.
    async fn keep(self) {
        let Line { waiting, sooner, .. } = &*self.0;
        loop {
            let soonest = waiting.borrow().soonest();
            let Some(soonest) = soonest else { return };
            // Looked at anew either way.
            let _ = timeout_at(soonest, sooner.notified()).await;
            while waiting.borrow_mut().wake(Instant::now()) {
                // Who was woken has his turn, and the thread listens, before others are.
                tokio::task::yield_now().await;
            }
        }
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        self.0.is_kept.set(false);
    }
}

impl Waiting {
    fn soonest(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse((deadline, _))| *deadline)
    }

    fn wait_on(&mut self, key: usize, waker: &Waker) {
        let waits = &mut self.entries[key].1;
        if !waits.as_ref().is_some_and(|one| one.will_wake(waker)) {
            *waits = Some(waker.clone());
        }
    }

    fn leave(&mut self, key: usize) {
        self.entries.remove(key);
        self.forget();
    }

    /// Has the heap hold no more than is stated.
    fn forget(&mut self) {
        if self.due.len() > 2 * self.entries.len() + SOME {
            let entries = &self.entries;
            self.due.retain(|Reverse((deadline, key))| holds(entries, *key, *deadline));
        }
    }

    /// Wakes a few whose time is up at `now`; tells whether there may be more.
    fn wake(&mut self, now: Instant) -> bool {
        for _ in 0..A_TURN {
            match self.due.peek() {
                Some(Reverse((deadline, _))) if *deadline <= now => {}
                _ => return false,
            }
            if let Some(Reverse((deadline, key))) = self.due.pop()
                && holds(&self.entries, key, deadline)
                && let Some(waker) = self.entries[key].1.take()
            {
                waker.wake();
            }
        }
        true
    }
}

fn holds(entries: &Slab<(Instant, Option<Waker>)>, key: usize, deadline: Instant) -> bool {
    entries.get(key).is_some_and(|entry| entry.0 == deadline)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::{FutureExt as _, poll};
    use tokio::task::LocalSet;

    use super::*;

    const S: Duration = Duration::from_secs(1);

    /// Gives how many deadlines are held, and how many the heap has.
    fn held() -> (usize, usize) {
        LINE.with(|line| {
            let waiting = line.waiting.borrow();
            (waiting.entries.len(), waiting.due.len())
        })
    }

    #[tokio::test(start_paused = true)]
    async fn each_is_woken_at_its_own_time_and_not_by_who_had_its_place_before() {
        let test = async {
            let begun = Instant::now();
            let given_up = before(begun + 2 * S, async { tokio::time::sleep(S).await });
            assert_eq!(given_up.await, Some(()));
            let waiting = [9, 5, 7].map(|seconds| {
                actix::spawn(async move {
                    until(begun + seconds * S).await;
                    begun.elapsed()
                })
            });
            for (one, seconds) in waiting.into_iter().zip([9, 5, 7]) {
                let took = one.await.unwrap();
                assert!((seconds * S..=seconds * S + S / 100).contains(&took), "{took:?}");
            }
            assert_eq!(before(begun + 20 * S, std::future::pending::<()>()).await, None);
            assert_eq!(begun.elapsed().as_secs(), 20, "whoever comes later is waited for as well");
            assert_eq!(held().0, 0);
        };
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_whose_time_is_up_a_few_are_woken_in_a_turn() {
        const MANY: usize = 100 * A_TURN;
        let test = async {
            let deadline = Instant::now() + S;
            let woken = Rc::new(Cell::new(0));
            for _ in 0..MANY {
                let woken = woken.clone();
                actix::spawn(async move {
                    until(deadline).await;
                    woken.set(woken.get() + 1);
                });
            }
            tokio::time::sleep(S / 2).await;
            let (mut before, mut turns) = (0, 0);
            tokio::time::advance(S).await;
            while woken.get() < MANY {
                tokio::task::yield_now().await;
                let since = woken.get() - before;
                assert!(since <= 2 * A_TURN, "{since} were woken in one turn");
                turns += usize::from(since > 0);
                before = woken.get();
            }
            assert!(turns >= MANY / A_TURN / 2, "{turns} turns");
        };
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_is_forgotten() {
        let test = async {
            let deadline = Instant::now() + S;
            let mut stays = until(deadline);
            assert!(poll!(&mut stays).is_pending());
            for _ in 0..100 * SOME {
                assert!(until(deadline + S).now_or_never().is_none());
            }
            let (waiting, heap) = held();
            assert_eq!(waiting, 1);
            assert!(heap <= 2 + SOME, "{heap}");
            stays.await;
            assert!(Instant::now() >= deadline);
        };
        LocalSet::new().run_until(test).await;
    }
}
