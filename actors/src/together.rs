//! Work that is done once for all who wait for it.
//!
//! Whoever asks before the work has begun shares it; whoever asks afterwards may want to know what
//! came since, and has it done anew. It goes on for as long as anybody waits, and holds no more
//! than one place in a map for that. One thread's.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::Hash;
use std::rc::Rc;

use futures_util::FutureExt as _;
use futures_util::future::{LocalBoxFuture, Shared, WeakShared};

/// Work that gives a `T`, and can be waited for by many.
pub type Work<T> = Shared<LocalBoxFuture<'static, T>>;

/// What has not begun, by what it is about; `S` is what all who wait have in common.
pub struct Together<K, S, T>(Rc<RefCell<HashMap<K, Waiting<S, T>>>>)
where
    T: Clone;

struct Waiting<S, T>
where
    T: Clone,
{
    work: WeakShared<LocalBoxFuture<'static, T>>,
    common: Rc<S>,
}

/// Held by work that has not begun: dropping it is the beginning.
pub struct Unbegun(Option<Box<dyn FnOnce()>>);

impl Drop for Unbegun {
    fn drop(&mut self) {
        if let Some(leave) = self.0.take() {
            leave();
        }
    }
}

impl<K, S, T> Default for Together<K, S, T>
where
    T: Clone,
{
    fn default() -> Self {
        Self(Rc::default())
    }
}

impl<K, S, T> Together<K, S, T>
where
    K: Clone + Eq + Hash + 'static,
    S: Default + 'static,
    T: Clone + 'static,
{
    /// Gives the work about `key` that has not begun, and what is common to all who wait for it;
    /// where there is none, `work` makes it.
    pub fn join<F>(&self, key: K, work: impl FnOnce(Rc<S>, Unbegun) -> F) -> (Work<T>, Rc<S>)
    where
        F: Future<Output = T> + 'static,
    {
        let found = self.0.borrow().get(&key).and_then(|waiting| {
            let work = waiting.work.upgrade()?;
            Some((work, waiting.common.clone()))
        });
        if let Some(found) = found {
            return found;
        }
        let (common, all, about) = (Rc::<S>::default(), self.0.clone(), key.clone());
        let unbegun = Unbegun(Some(Box::new(move || drop(all.borrow_mut().remove(&about)))));
        let work = work(common.clone(), unbegun).boxed_local().shared();
        // None but a finished one cannot be held weakly.
        if let Some(weak) = work.downgrade() {
            self.0.borrow_mut().insert(key, Waiting { work: weak, common: common.clone() });
        }
        (work, common)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use tokio::sync::Semaphore;

    /// Work that waits for `place`, counts itself, and gives its number.
    fn counted(
        together: &Together<u8, Cell<u8>, usize>,
        place: &Rc<Semaphore>,
        done: &Rc<Cell<usize>>,
    ) -> Work<usize> {
        let (place, done) = (place.clone(), done.clone());
        let (work, common) = together.join(7, |_, unbegun| async move {
            drop(place.acquire().await);
            drop(unbegun);
            done.set(done.get() + 1);
            tokio::task::yield_now().await;
            done.get()
        });
        common.set(common.get() + 1);
        work
    }

    #[tokio::test]
    async fn who_waits_shares_and_who_comes_after_the_beginning_does_not() {
        let (together, place, done) =
            (Together::default(), Rc::new(Semaphore::new(0)), Rc::default());
        let mut first = counted(&together, &place, &done);
        let second = counted(&together, &place, &done);
        assert!((&mut first).now_or_never().is_none());
        place.add_permits(1);
        assert!((&mut first).now_or_never().is_none(), "it has begun, and is not done");
        let third = counted(&together, &place, &done);
        assert_eq!((first.await, second.await, third.await), (1, 1, 2));
        assert!(together.0.borrow().is_empty());
    }

    #[tokio::test]
    async fn who_goes_takes_the_work_along_only_when_he_is_the_last() {
        let (together, place, done) =
            (Together::default(), Rc::new(Semaphore::new(0)), Rc::default());
        let mut first = counted(&together, &place, &done);
        assert!((&mut first).now_or_never().is_none());
        let second = counted(&together, &place, &done);
        drop(first);
        place.add_permits(1);
        assert_eq!(second.await, 1);
        place.forget_permits(1);
        let mut alone = counted(&together, &place, &done);
        assert!((&mut alone).now_or_never().is_none());
        assert_eq!(together.0.borrow().len(), 1);
        drop(alone);
        assert!(together.0.borrow().is_empty());
        assert_eq!(done.get(), 1);
    }
}
