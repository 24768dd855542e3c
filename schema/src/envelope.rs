//! What crosses the broker: what one node's life tells another's.
//!
//! An envelope is a hint, or a lease that is renewed before it ends: losing one is doubt, and
//! doubt ends in a catch-up. They travel as JSON, so that nodes of two versions understand each
//! other: unknown fields are ignored, and an unknown kind is doubt too.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids::{ClientId, Life, UserId};

/// The version of these shapes. Meanings never change in place; a reader of an earlier version
/// takes what is new for [`Envelope::Unknown`].
pub const ENVELOPE_VERSION: u16 = 1;

/// One thing that a life tells another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Envelope {
    /// A frame for the sessions of a user.
    Push(Pushed),
    /// The sender is an edge of this user: it holds sessions of his, and wants what his home
    /// has for them. Renewed; ends by itself.
    Attach {
        /// Whose sessions.
        user: UserId,
        /// When it was asked, by the edge's own count; comes back with the answer.
        at: u64,
    },
    /// The answer of a home: from now on it sends the edge what it has for the user.
    Attached {
        /// Whose sessions.
        user: UserId,
        /// What the question named.
        at: u64,
    },
    /// The sender holds no session of this user any more.
    Detach {
        /// Whose sessions.
        user: UserId,
    },
    /// Pushes for these users may be lost: they catch up.
    Doubt {
        /// Whose sessions.
        users: Vec<UserId>,
        /// Where the lost pushes were on their way to.
        stage: Stage,
    },
    /// Somebody watches this user's presence at the sender, who wants to be told when it changes.
    /// Renewed; ends by itself.
    Watch {
        /// Whose presence.
        user: UserId,
        /// When it was asked, by the sender's own count; comes back with the answer.
        at: u64,
    },
    /// The answer of a home: from now on it tells when the user's presence changes.
    Watching {
        /// Whose presence.
        user: UserId,
        /// What the question named.
        at: u64,
    },
    /// Nobody watches this user at the sender any more.
    Unwatch {
        /// Whose presence.
        user: UserId,
    },
    /// This user's presence, or who may know it, changed in the store: to be read again.
    Presence {
        /// Whose presence.
        user: UserId,
        /// Where the news is on its way.
        stage: Stage,
    },
    /// Log-ins of this user are over: their sessions end. That of who comes later by a ticket from
    /// before ends by what the store says.
    LoggedOut {
        /// Whose.
        user: UserId,
        /// Every log-in from before this epoch. A version before this told none, and ended all of
        /// his sessions: above every epoch.
        #[serde(default = "above_all")]
        epoch: u64,
        /// This one besides; a version before this reads over it, and learns of none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        log_in: Option<Uuid>,
    },
    /// From now on the sender takes these lives for those that have homes: what it sends for a
    /// user goes where this map says.
    Map {
        /// Which lives.
        lives: Vec<Life>,
    },
    /// Asks for a sign of life.
    Ping {},
    /// A sign of life.
    Pong {},
    /// Asks whether the receiver hears a life that the sender hears no more.
    Ask {
        /// Which life.
        about: Life,
    },
    /// The sender hears that life.
    Vouch {
        /// Which life.
        about: Life,
    },
    /// What a later version says.
    #[serde(other)]
    Unknown,
}

fn above_all() -> u64 {
    u64::MAX
}

/// Where a push is on its way: nothing is forwarded twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// To the user's home, by the sender's map.
    Home,
    /// To the user's home, by the map of a node that was no longer it.
    Forwarded,
    /// From the home to an edge: for the sessions there alone.
    Edge,
}

/// One frame, already serialised, for the sessions of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pushed {
    /// Whose sessions it is for.
    pub to: UserId,
    /// Where it is on its way.
    pub stage: Stage,
    /// The client that caused it and needs no push (it got the answer).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub except: Option<ClientId>,
    /// Whether it is worth nothing later (typing), so that losing it is no doubt.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub passing: bool,
    /// The frame as JSON text, the same bytes for every session.
    pub frame: String,
    /// W3C trace context of the cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_later_version_says_is_unknown_and_no_error() {
        let later = r#"{"kind":"sing","song":{"title":"x"}}"#;
        assert_eq!(serde_json::from_str::<Envelope>(later).unwrap(), Envelope::Unknown);
    }

    #[test]
    fn a_log_out_that_an_earlier_version_tells_ends_every_session() {
        let earlier = r#"{"kind":"logged_out","user":"ben"}"#;
        let (user, epoch) = ("ben".parse().unwrap(), u64::MAX);
        let told = Envelope::LoggedOut { user, epoch, log_in: None };
        assert_eq!(serde_json::from_str::<Envelope>(earlier).unwrap(), told);
    }

    #[test]
    fn a_single_log_out_ends_nothing_else_at_a_version_that_reads_over_it() {
        let (user, log_in) = ("ben".parse().unwrap(), Some(Uuid::nil()));
        let told = serde_json::to_value(Envelope::LoggedOut { user, epoch: 0, log_in }).unwrap();
        assert_eq!(told["epoch"], 0);
        assert_eq!(told["log_in"], "00000000-0000-0000-0000-000000000000");
        let told = serde_json::to_value(Envelope::LoggedOut { user, epoch: 7, log_in: None });
        assert!(told.unwrap().get("log_in").is_none());
    }

    #[test]
    fn a_field_that_a_later_version_adds_is_ignored() {
        let later = r#"{"kind":"push","to":"ben","stage":"home","frame":"{}","speed":9}"#;
        let Envelope::Push(push) = serde_json::from_str(later).unwrap() else { panic!("{later}") };
        assert_eq!((push.stage, push.passing, push.except), (Stage::Home, false, None));
    }
}
