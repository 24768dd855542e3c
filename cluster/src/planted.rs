//! Faults that somebody may plant, to see that the judges find them.
//!
//! Each is one wrong decision at one place in `cluster` or `actors`, where it reads
//! `if planted::on(Fault::…)`. Which one is on is told a thread, by `with`, as the simulation does,
//! or a whole process, by `plant`, as a server does that was built for it; off unless told.
//! Without the feature `planted` there is nothing to tell: [`on`] is the constant `false`, the
//! call sites are gone from what is compiled, and no release of the server is built with it.

use std::str::FromStr;

use thiserror::Error;

macro_rules! faults {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// A wrong decision.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault {
            $($(#[doc = $doc])* $name,)*
        }

        impl Fault {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
        }
    };
}

faults! {
    /// A commit is acknowledged though the store did not confirm it.
    AckUnconfirmed,
    /// A catch-up reads from the cursor on, and not from an overlap before it.
    NoOverlap,
    /// A catch-up writes what the log names, and not what of it was missed while it read.
    MissedMeanwhile,
    /// What became of a send is not known, and later ones go ahead of it.
    HoldForgotten,
    /// Both rows of a message that was stamped twice are shown.
    TwinsShown,
    /// A retry with another text is taken for another message.
    ConflictSwallowed,
    /// Of two marks the one that is written later wins.
    MarksMoveBack,
    /// A read mark does not set delivered.
    ReadUndelivered,
    /// A mark moves, and no log has an entry of it.
    MarkUnlogged,
    /// What is unread is counted beyond the head that it is told with.
    CountBeyondHead,
    /// Of an edit and a deletion the one that is written later wins.
    EditBeatsDeletion,
    /// An outcome that is not known is told as a failure.
    UnknownSaidFailed,
    /// A retry is refused for good while an earlier attempt may still be taken.
    RetryGivenUp,
    /// Parcels that never came are not missed.
    GapUnheard,
    /// After a queue began anew, nobody is asked whether something was lost on its way to it.
    ReopenedUnasked,
    /// A node that died is not taken to have left anything untold.
    DeathUnheard,
    /// A sender's new map of homes raises no doubt.
    MapIgnored,
    /// Who is no longer on the map is not told so.
    LeftOutUntold,
    /// A map that may have been lost is taken for known.
    GapKeepsMap,
    /// A user's other nodes are not counted when one session may be left out.
    EdgesUncounted,
    /// A lease that was not counted on any more is taken up as if it had been.
    LapseUnheard,
    /// A push that a session's full mailbox refused raises no doubt.
    FullUnheard,
    /// A session that lagged is pushed to again, and reads nothing of what it missed.
    LagForgotten,
    /// A clock follows whatever its machine's wall clock is set to.
    StepFollowed,
    /// A catch-up does not read that its session's log-in is over.
    LogOutUnread,
    /// A user is shown offline when one of his sessions ends, whatever others live.
    OneGoneAllGone,
    /// A session that is silent is never over.
    SilenceEndless,
    /// Pushes wait for a client without a bound.
    BudgetEndless,
    /// A catch-up keeps its place while it waits for its client to read.
    PlaceKept,
    /// A catch-up leaves out a conversation of which there is too much, and does not say so.
    CutUntold,
}

/// Says that no fault has this name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unknown fault {0:?}: there are {all:?}", all = Fault::ALL)]
pub struct UnknownFault(pub String);

impl FromStr for Fault {
    type Err = UnknownFault;

    fn from_str(name: &str) -> Result<Self, UnknownFault> {
        let named = Self::ALL.iter().find(|fault| format!("{fault:?}") == name);
        named.copied().ok_or_else(|| UnknownFault(name.to_owned()))
    }
}

/// Tells whether this is a build into which faults can be planted.
pub const POSSIBLE: bool = cfg!(feature = "planted");

#[cfg(feature = "planted")]
mod selector {
    use std::cell::Cell;
    use std::sync::OnceLock;

    use super::Fault;

    thread_local! {
        static ON: Cell<Option<Fault>> = const { Cell::new(None) };
    }

    static EVERYWHERE: OnceLock<Fault> = OnceLock::new();

    /// Tells whether this thread has this fault, by itself or as part of its process.
    pub fn on(fault: Fault) -> bool {
        ON.get() == Some(fault) || planted() == Some(fault)
    }

    /// Gives the fault that the whole process has.
    pub fn planted() -> Option<Fault> {
        EVERYWHERE.get().copied()
    }

    /// Plants a fault into the whole process, for good: the first one that is named.
    pub fn plant(fault: Fault) {
        EVERYWHERE.get_or_init(|| fault);
    }

    /// Plants a fault into this thread, or none, while `f` runs.
    pub fn with<T>(fault: Option<Fault>, f: impl FnOnce() -> T) -> T {
        struct Restore(Option<Fault>);
        impl Drop for Restore {
            fn drop(&mut self) {
                ON.set(self.0);
            }
        }
        let _restore = Restore(ON.replace(fault));
        f()
    }
}

#[cfg(feature = "planted")]
pub use selector::{on, plant, planted, with};

/// Tells that no fault is planted: this build has none.
#[cfg(not(feature = "planted"))]
#[inline(always)]
pub const fn on(_: Fault) -> bool {
    false
}
