//! Finishes what was begun, also when whoever waits for it is gone.
//!
//! A session that ends drops the futures it waits for. One that writes to the store must not end
//! with it: what is stored has to be told to others, who would learn of it with their next
//! catch-up alone.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A future that goes on by itself when it is dropped before its end.
pub struct Outlive<T: 'static>(Option<Pin<Box<dyn Future<Output = T>>>>);

/// Has a future outlive who waits for it; its output is lost then.
pub fn outlive<T>(future: impl Future<Output = T> + 'static) -> Outlive<T> {
    Outlive(Some(Box::pin(future)))
}

impl<T> Future for Outlive<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let future = self.0.as_mut().expect("a future is not polled after its end");
        let polled = future.as_mut().poll(cx);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

impl<T> Drop for Outlive<T> {
    fn drop(&mut self) {
        if let Some(future) = self.0.take() {
            actix::spawn(async move {
                future.await;
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::sync::oneshot;

    use super::*;

    #[actix::test]
    async fn what_is_dropped_goes_on_and_what_has_ended_does_not_begin_again() {
        let (begin, begun) = oneshot::channel::<u8>();
        let (tell, told) = oneshot::channel();
        let mut waiting = outlive(async move { tell.send(begun.await) });
        assert!((&mut waiting).now_or_never().is_none());
        drop(waiting);
        begin.send(7).unwrap();
        assert_eq!(told.await.unwrap(), Ok(7));
        assert_eq!(outlive(async { 8 }).await, 8);
    }
}
