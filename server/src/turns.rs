//! The turns that HTTP takes of a thread.
//!
//! A thread runs all that is ready before it listens again, and everybody's sessions are on one.
//! What thousands of connections have to do at the same moment, as when the time of all who came
//! together is up, would keep the others waiting until the last of them is done. So only a few are
//! taken up in each turn of the thread, in the order in which they became ready. The others stand
//! in line, one place a connection, of which there are only so many (`door.rs`). Of what stands there
//! for the first time nothing is made yet: memory that is touched for the first time is slow.

use std::cell::Cell;
use std::rc::Rc;
use std::task::Poll;

use futures_util::{pending, poll};
use tokio::sync::Semaphore;

/// How many connections are taken up in one turn: the thread's sessions wait for all of them.
const A_TURN: usize = 2;

/// Where the connections of one thread stand in line.
struct Turnstile {
    /// Places in this turn.
    places: Semaphore,
    /// Whether there are to be as many again in the next one.
    turning: Cell<bool>,
}

thread_local! {
    static TURNSTILE: Rc<Turnstile> = Rc::new(Turnstile {
        places: Semaphore::new(A_TURN),
        turning: Cell::new(false),
    });
}

/// Has `work` begin, and runs it to its end, each step of it in a turn with few others.
///
/// Panics when the thread runs no `LocalSet`, which every thread of actix does.
pub async fn in_turns<F: Future>(work: impl FnOnce() -> F) -> F::Output {
    let turnstile = TURNSTILE.with(Rc::clone);
    turnstile.pass().await;
    // Not a part of this future, which is all there while it waits.
    let mut work = Box::pin(work());
    loop {
        if let Poll::Ready(output) = poll!(work.as_mut()) {
            return output;
        }
        pending!();
        turnstile.pass().await;
    }
}

impl Turnstile {
    /// Waits for a place, and takes it until the next turn.
    async fn pass(self: &Rc<Self>) {
        // It is never closed.
        if let Ok(place) = self.places.acquire().await {
            place.forget();
        }
        if !self.turning.replace(true) {
            actix_rt::spawn(self.clone().turn());
        }
    }

    /// Makes room once the thread has listened again: what yields runs after that.
    async fn turn(self: Rc<Self>) {
        tokio::task::yield_now().await;
        self.turning.set(false);
        // Who leaves the line gives his place back, if he had one.
        self.places.add_permits(A_TURN.saturating_sub(self.places.available_permits()));
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    /// Counts the turns of the thread that pass while `work` is done.
    async fn turns_of(work: impl Future<Output = ()>) -> usize {
        let mut work = pin!(work);
        let mut turns = 0;
        while poll!(work.as_mut()).is_pending() {
            tokio::task::yield_now().await;
            turns += 1;
        }
        turns
    }

    /// Has `count` connections do something in each of `steps` turns of their own.
    async fn connections(count: usize, steps: usize) {
        let all: Vec<_> = (0..count)
            .map(|_| {
                actix_rt::spawn(in_turns(move || async move {
                    for _ in 1..steps {
                        tokio::task::yield_now().await;
                    }
                }))
            })
            .collect();
        for one in all {
            one.await.unwrap();
        }
    }

    #[actix_web::test]
    async fn what_all_have_to_do_at_once_is_done_a_few_a_turn() {
        const MANY: usize = 100 * A_TURN;
        let turns = turns_of(connections(MANY, 1)).await;
        assert!(turns >= MANY / A_TURN - 1, "{MANY} were done within {turns} turns");
        let turns = turns_of(connections(MANY, 3)).await;
        assert!(turns >= 3 * (MANY / A_TURN - 1), "{MANY} took 3 steps within {turns} turns");
    }

    #[actix_web::test]
    async fn of_who_stands_in_line_nothing_is_begun() {
        let begun = Rc::new(Cell::new(0));
        for _ in 0..10 * A_TURN {
            let begun = begun.clone();
            actix_rt::spawn(in_turns(move || {
                begun.set(begun.get() + 1);
                std::future::pending::<()>()
            }));
        }
        let mut before = 0;
        while begun.get() < 10 * A_TURN {
            tokio::task::yield_now().await;
            let since = begun.get() - before;
            assert!(since <= 2 * A_TURN, "{since} were begun in one turn");
            before = begun.get();
        }
    }

    #[actix_web::test]
    async fn who_is_alone_does_not_wait() {
        let turns = turns_of(connections(1, 1)).await;
        assert!(turns <= 2, "one took {turns} turns");
    }

    #[actix_web::test]
    async fn the_line_keeps_its_order_and_forgets_who_leaves() {
        let done = Rc::new(std::cell::RefCell::new(Vec::new()));
        let all: Vec<_> = (0..5 * A_TURN)
            .map(|i| {
                let done = done.clone();
                actix_rt::spawn(in_turns(move || async move { done.borrow_mut().push(i) }))
            })
            .collect();
        // They stand in line before every other one leaves it.
        tokio::task::yield_now().await;
        let begun = done.borrow().len();
        let left: Vec<usize> = (begun..5 * A_TURN).step_by(2).collect();
        left.iter().for_each(|&i| all[i].abort());
        for (i, one) in all.into_iter().enumerate() {
            assert_eq!(one.await.is_err(), left.contains(&i));
        }
        let stayed: Vec<usize> = (0..5 * A_TURN).filter(|i| !left.contains(i)).collect();
        assert_eq!(*done.borrow(), stayed);
        let places = TURNSTILE.with(|turnstile| turnstile.places.available_permits());
        assert!(places <= A_TURN);
    }
}
