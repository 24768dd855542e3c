//! The one suite that every store passes: each check is a promise of the trait.
//!
//! An implementation gives a [`Fixture`] and calls `store_conformance!` with it in a module of
//! tests; each check is then a test of its own. Knows nothing of any implementation.

mod changes;
mod inbox;
mod messages;
mod nodes;
mod pages;
mod people;
mod story;

use std::future::Future;

pub use changes::*;
pub use inbox::*;
pub use messages::*;
pub use nodes::*;
pub use pages::*;
pub use people::*;

use super::Store;

/// Gives a check the store that it judges.
pub trait Fixture: Sized + Send {
    /// Which store.
    type Store: Store;

    /// Makes one that holds nothing.
    fn empty() -> impl Future<Output = Self> + Send;

    /// Whether nodes share the store: after a restart its high water is that of heartbeats.
    const SHARED: bool = false;

    /// Borrows it.
    fn store(&self) -> &Self::Store;

    /// Ends every use of it without warning, as a crash does, and comes back to it.
    fn reopened(self) -> impl Future<Output = Self> + Send;
}

/// Declares the checks once, and a macro that makes a test of each.
macro_rules! checks {
    (($d:tt) $($name:ident)*) => {
        /// Makes each check of the suite a test of the given [`Fixture`], with the attributes
        /// that follow it.
        #[macro_export]
        macro_rules! store_conformance {
            ($d fixture:ty $d(, #[$d attribute:meta])*) => {
                $(
                    #[tokio::test]
                    $d(#[$d attribute])*
                    async fn $name() {
                        $crate::store::conformance::$name::<$d fixture>().await;
                    }
                )*
            };
        }
    };
}

checks! {($)
    what_was_committed_is_there_after_a_restart
    a_commit_may_be_repeated_at_will
    writes_to_one_message_leave_one_row_in_any_order
    a_deletion_beats_every_edit_and_no_replay_brings_the_body_back
    an_edit_or_deletion_alone_creates_nothing
    of_edits_the_largest_id_stays
    a_removed_twin_stays_removed
    a_reply_stays_a_reply
    messages_come_in_the_order_asked
    a_stamp_finds_its_messages_and_no_others
    history_is_paged_newest_first_over_many_days
    a_page_of_long_texts_is_shorter_and_loses_nothing
    history_keeps_conversations_apart
    twins_are_both_in_history
    the_newest_for_a_reader_is_of_somebody_else
    unread_counts_what_others_wrote_above_the_mark
    marks_never_move_backwards
    writes_to_one_entry_leave_one_row_in_any_order
    two_messages_of_one_millisecond_do_not_mix
    what_became_of_a_message_shows_only_while_it_is_the_head
    a_mark_alone_creates_no_conversation
    an_inbox_is_ordered_by_head_and_paged
    inbox_rows_come_in_the_order_asked
    names_that_begin_alike_keep_their_partitions
    changes_come_oldest_first_in_pages
    changes_expire_by_age
    the_high_water_mark_is_the_latest_change_ever
    a_name_is_taken_once
    an_account_changes_only_where_told
    an_import_leaves_whom_it_finds
    users_are_found_by_the_beginning_of_their_name
    blocks_are_set_and_cleared
    presence_is_one_row_a_life_until_folded
    of_a_node_the_latest_heartbeat_and_verdict_stay
    of_verdicts_of_one_moment_the_graver_stays
    a_deleted_life_stays_deleted
    nodes_come_in_the_order_of_their_lives
    a_revoked_token_stays_revoked
    a_store_keeps_its_identity
}
