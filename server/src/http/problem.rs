//! What goes wrong over HTTP, as `application/problem+json` (RFC 9457).
//!
//! One table of stable names. Whatever actix answers by itself (an unknown path, a body that
//! is no JSON) is turned into the same shape by `dress.rs`. A fault of the store's leaves without its
//! cause, which `measure.rs` tells to whoever looks after the node.

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use rally_cluster::roles::Role;
use rally_cluster::store::StoreError;
use serde::Serialize;
use utoipa::ToSchema;

use crate::limits::Wait;
use crate::passwords::Busy;
use crate::tokens::TokenError;

/// The content type of a problem.
pub const PROBLEM_JSON: &str = "application/problem+json";

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $kind:ident = $status:literal, $name:literal, $title:literal;)*) => {
        /// Names a kind of problem.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Kind {
            $($(#[doc = $doc])+ $kind,)*
        }

        impl Kind {
            /// Every kind there is.
            pub const ALL: &'static [Kind] = &[$(Kind::$kind,)*];

            /// Gives the status, the stable name, and a title for people.
            fn row(self) -> (u16, &'static str, &'static str) {
                match self { $(Self::$kind => ($status, $name, $title),)* }
            }
        }
    };
}

kinds! {
    /// The body is no JSON of the stated shape.
    BadJson = 400, "bad-json", "The body is not what this address takes";
    /// The query is not of the stated shape.
    BadQuery = 400, "bad-query", "The query is not what this address takes";
    /// A value is not allowed.
    BadValue = 400, "bad-value", "A value is not allowed";
    /// The request itself is malformed.
    BadRequest = 400, "bad-request", "The request is malformed";
    /// Nobody is logged in, or no longer.
    LogIn = 401, "log-in", "Log in first";
    /// The operator's token is missing, or another.
    AdminToken = 401, "admin-token", "Only the operator may come in";
    /// User and password do not belong together.
    BadLogin = 401, "bad-login", "Unknown user or wrong password";
    /// The page's origin is not allowed.
    Origin = 403, "origin", "This origin is not allowed";
    /// The request does not prove that it comes from a page of ours.
    Csrf = 403, "csrf", "The request lacks the header x-rally-csrf";
    /// Registration is closed.
    Closed = 403, "closed", "Registration is closed";
    /// There is no such thing, or it is not for the asker.
    NotFound = 404, "not-found", "Not found";
    /// Another process of the cluster serves this address.
    Role = 404, "role", "This process does not serve this address";
    /// The address does not take this method.
    Method = 405, "method", "Method not allowed";
    /// The request came too slowly.
    Slow = 408, "slow", "The request took too long";
    /// The user name is taken.
    Taken = 409, "taken", "This name is taken";
    /// The page shows another user than the one who is logged in now.
    OtherUser = 409, "other-user", "Somebody else is logged in now";
    /// The list is as long as it may be.
    Full = 409, "full", "The list is full";
    /// The node is heard, or may be alive.
    Heard = 409, "heard", "This node may be alive";
    /// The body is too long.
    TooLarge = 413, "too-large", "The body is too large";
    /// The body is of another type.
    MediaType = 415, "media-type", "The body must be application/json";
    /// The host that the request names is none of ours.
    Host = 421, "host", "This host is not served here";
    /// The address takes WebSocket handshakes only.
    BadUpgrade = 426, "upgrade", "This address speaks WebSocket";
    /// Too many requests.
    Rate = 429, "rate", "Too many requests";
    /// A fault of the server's.
    Internal = 500, "internal", "Internal error";
    /// The store does not answer.
    Store = 503, "store", "The store does not answer";
    /// Too much to do.
    Busy = 503, "busy", "The server is busy";
    /// The node does not take users now.
    NotReady = 503, "not-ready", "The node is not ready";
}

/// A problem with its circumstances.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{kind:?}: {detail}")]
pub struct Problem {
    kind: Kind,
    detail: String,
    retry_after_s: Option<u64>,
    allow: Option<&'static str>,
    /// What the store failed at.
    cause: Option<String>,
}

/// A problem as it is sent.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// A stable name: `urn:rally:problem:` and the kind.
    #[schema(example = "urn:rally:problem:rate", pattern = "^urn:rally:problem:[a-z-]+$")]
    r#type: String,
    /// The kind, for people.
    title: &'static str,
    /// The status once more.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What it was this time, with the offending value and what to do.
    detail: String,
}

impl Problem {
    /// Makes a problem; `detail` names the value and what to do.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), retry_after_s: None, allow: None, cause: None }
    }

    /// Keeps what the asker is not told.
    fn because(self, cause: &StoreError) -> Self {
        Self { cause: Some(cause.to_string()), ..self }
    }

    /// Gives what the store failed at, which the asker is not told.
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// Says when asking again can succeed.
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// Says which methods the address takes.
    pub fn method(allow: &'static str) -> Self {
        let detail = format!("this address takes {allow}");
        Self { allow: Some(allow), ..Self::new(Kind::Method, detail) }
    }

    /// Answers alike for what does not exist and what is not for the asker.
    pub fn unknown_user(user: &str) -> Self {
        let shown: String = user.chars().take(64).collect();
        Self::new(Kind::NotFound, format!("unknown user {shown:?}"))
    }

    /// Says which role serves the address, and which processes have it.
    pub fn elsewhere(role: Role, addresses: &[String]) -> Self {
        let detail = match addresses {
            [] => {
                format!("the role {role} serves this address, and no process that is heard has it")
            }
            _ => format!("the role {role} serves this address: ask {}", addresses.join(" or ")),
        };
        Self::new(Kind::Role, detail)
    }

    /// Answers alike for a conversation that does not exist and one of others.
    pub fn unknown_conversation(conversation: &str) -> Self {
        let shown: String = conversation.chars().take(64).collect();
        Self::new(Kind::NotFound, format!("unknown conversation {shown:?}"))
    }

    /// Gives the problem that says as much as a bare status does.
    pub fn of_status(status: StatusCode) -> Self {
        let kind = match status.as_u16() {
            401 => Kind::LogIn,
            403 => Kind::Origin,
            404 => Kind::NotFound,
            405 => Kind::Method,
            408 => Kind::Slow,
            413 => Kind::TooLarge,
            415 => Kind::MediaType,
            429 => Kind::Rate,
            503 => Kind::Busy,
            code if code < 500 => Kind::BadRequest,
            _ => Kind::Internal,
        };
        let detail = status.canonical_reason().unwrap_or("unnamed status").to_ascii_lowercase();
        Self::new(kind, detail)
    }

    fn body(&self) -> ProblemBody {
        let (status, name, title) = self.kind.row();
        let r#type = format!("urn:rally:problem:{name}");
        ProblemBody { r#type, title, status, detail: self.detail.clone() }
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.kind.row().0).expect("the table has valid statuses")
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponseBuilder::new(self.status_code());
        if let Some(seconds) = self.retry_after_s {
            response.insert_header((RETRY_AFTER, seconds.to_string()));
        }
        if let Some(allow) = self.allow {
            response.insert_header((ALLOW, allow));
        }
        if self.status_code() == StatusCode::UNAUTHORIZED {
            response.insert_header((WWW_AUTHENTICATE, "Bearer realm=\"rally\""));
        }
        let body = serde_json::to_vec(&self.body()).expect("strings and a number");
        response.content_type(PROBLEM_JSON).body(body)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy => Self::new(Kind::Busy, error.to_string()).retry_after(1),
            StoreError::Unknown(_) | StoreError::Read(_) => {
                let detail = "the store did not answer: try again";
                Self::new(Kind::Store, detail).retry_after(1).because(&error)
            }
            StoreError::Damaged { .. } => {
                Self::new(Kind::Internal, "what is stored cannot be read").because(&error)
            }
        }
    }
}

impl From<Wait> for Problem {
    fn from(wait: Wait) -> Self {
        let detail = format!("too many requests: try again in {} s", wait.seconds);
        Self::new(Kind::Rate, detail).retry_after(wait.seconds)
    }
}

impl From<Busy> for Problem {
    fn from(busy: Busy) -> Self {
        Self::new(Kind::Busy, busy.to_string()).retry_after(2)
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Invalid => Self::new(Kind::LogIn, error.to_string()),
            TokenError::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_stable_words_and_statuses_are_errors() {
        for kind in Kind::ALL {
            let (status, name, _) = kind.row();
            assert!(name.bytes().all(|c| c.is_ascii_lowercase() || c == b'-'), "{name}");
            assert!((400..600).contains(&status));
            let response = Problem::new(*kind, "x").error_response();
            assert_eq!(response.headers().get("content-type").unwrap(), PROBLEM_JSON);
        }
    }

    #[test]
    fn a_fault_of_the_store_s_does_not_show_its_cause() {
        let problem = Problem::from(StoreError::Read("/secret/path is gone".to_owned()));
        assert!(!problem.body().detail.contains("secret"));
        assert!(problem.cause().is_some_and(|cause| cause.contains("/secret/path")));
        assert_eq!(problem.status_code(), 503);
        assert_eq!(Problem::from(StoreError::Busy).status_code(), 503);
    }

    #[test]
    fn a_value_from_outside_is_shown_shortened() {
        let problem = Problem::unknown_user(&"x".repeat(10_000));
        assert!(problem.body().detail.len() < 100);
    }
}
