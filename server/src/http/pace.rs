//! The outermost layer: tells the socket when a request is being answered (`sip.rs`).
//!
//! From its head until the last byte of its answer is on its way, nothing that comes after it is
//! read, but for its own body while somebody waits for that. Knows nothing of what is answered.

use std::pin::Pin;
use std::task::{Context, Poll};

use actix_http::BoxedPayloadStream;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _};
use bytes::Bytes;
use futures_util::Stream;

use crate::sip::{Answering, Pace};

/// Has the socket keep everything inside in pace.
pub async fn pace(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(pace) = request.conn_data::<Pace>().cloned() else {
        return Ok(next.call(request).await?.map_into_boxed_body());
    };
    let mut answering = pace.answering();
    let body = request.take_payload();
    if !matches!(body, Payload::None) {
        let payload: BoxedPayloadStream = Box::pin(Awaited::new(Box::pin(body), pace));
        request.set_payload(Payload::Stream { payload });
    }
    let answer = next.call(request).await?;
    answering.gives();
    Ok(answer
        .map_body(|_, body| BoxBody::new(Answer { body: body.boxed(), _answering: answering })))
}

/// The body of a request, for as long as somebody waits for it.
struct Awaited {
    body: BoxedPayloadStream,
    pace: Pace,
}

impl Awaited {
    fn new(body: BoxedPayloadStream, pace: Pace) -> Self {
        pace.wants_body(true);
        Self { body, pace }
    }
}

impl Stream for Awaited {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.body.as_mut().poll_next(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.pace.wants_body(false);
        }
        polled
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        self.pace.wants_body(false);
    }
}

/// The body of an answer, which is being given until it is dropped.
struct Answer {
    body: BoxBody,
    _answering: Answering,
}

impl MessageBody for Answer {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}
