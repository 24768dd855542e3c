//! A store that does not answer as one would wish: nothing is called failed that may have been
//! written, nothing is acknowledged that was not, and what it says late is not news.

#![allow(clippy::unwrap_used, reason = "what cannot go on fails the test")]

mod harness;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use harness::{Client, Peers, TestNode, model};
use rally_actors::Settings;
use rally_actors::admission::Line;
use rally_cluster::store::{
    Change, Commit, InboxRow, Later, MessageRow, Model, NodeRow, PresenceRow, Store, StoreError,
    UserChange, UserRow,
};
use rally_schema::frame::{
    Beat, ByeReason, ClientFrame, InboxQuery, ServerFrame, Sync, Unwatch, Watch,
};
use rally_schema::ids::Stamp;
use rally_schema::{ChangeId, ConversationId, ErrorCode, Life, MessageId, Ref, StoreId, UserId};
use uuid::Uuid;

/// What becomes of a commit.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// It is written, and nobody is told.
    Silence,
    /// Nothing is written, and nobody is told.
    Loss,
    /// Nothing is written, which is said.
    Busy,
}

/// The model with faults in front of its commits, which wait while somebody holds them, and so do its
/// inboxes and logs.
#[derive(Clone)]
struct Uncertain {
    model: Model,
    faults: Arc<Mutex<VecDeque<Fault>>>,
    tried: Arc<Mutex<Vec<Vec<Commit>>>>,
    commits: Arc<tokio::sync::Mutex<()>>,
    /// How often each was read.
    inboxes: Arc<tokio::sync::Mutex<usize>>,
    logs: Arc<tokio::sync::Mutex<usize>>,
    rows: Arc<tokio::sync::Mutex<usize>>,
}

impl Uncertain {
    async fn new(faults: impl IntoIterator<Item = Fault>) -> Self {
        let faults = Arc::new(Mutex::new(faults.into_iter().collect()));
        let (tried, commits) = (Arc::default(), Arc::default());
        let (inboxes, logs, rows) = (Arc::default(), Arc::default(), Arc::default());
        Self { model: model().await, faults, tried, commits, inboxes, logs, rows }
    }
}

/// Hands methods on to the model.
macro_rules! hand_on {
    ($($method:ident($($name:ident: $type:ty),*) -> $answer:ty;)*) => {
        $(fn $method(&self, $($name: $type),*) -> $answer {
            self.model.$method($($name),*)
        })*
    };
}

/// Hands methods on to the model once nobody holds what is named.
macro_rules! hand_on_after {
    ($($held:ident: $method:ident($($name:ident: $type:ty),*) -> $answer:ty;)*) => {
        $(fn $method(&self, $($name: $type),*) -> $answer {
            let Self { model, $held, .. } = self.clone();
            Box::pin(async move {
                let mut reads = $held.lock().await;
                *reads += 1;
                model.$method($($name),*).await
            })
        })*
    };
}

impl Store for Uncertain {
    fn commit(&self, commits: Vec<Commit>) -> Later<()> {
        self.tried.lock().unwrap().push(commits.clone());
        let fault = self.faults.lock().unwrap().pop_front();
        let unknown = || StoreError::Unknown("no answer".to_owned());
        let (model, held) = (self.model.clone(), self.commits.clone());
        Box::pin(async move {
            let _held = held.lock().await;
            match fault {
                None => model.commit(commits).await,
                Some(Fault::Silence) => model.commit(commits).await.and(Err(unknown())),
                Some(Fault::Loss) => Err(unknown()),
                Some(Fault::Busy) => Err(StoreError::Busy),
            }
        })
    }

    hand_on_after! {
        inboxes: inbox(user: UserId, before: Option<MessageId>, limit: usize)
            -> Later<(Vec<InboxRow>, bool)>;
        inboxes: inbox_rows(user: UserId, conversations: Vec<ConversationId>)
            -> Later<Vec<InboxRow>>;
        logs: changes(user: UserId, after: ChangeId, limit: usize) -> Later<Vec<Change>>;
        rows: messages(conversation: ConversationId, ids: Vec<MessageId>)
            -> Later<Vec<MessageRow>>;
    }

    hand_on! {
        id() -> StoreId;
        high_water_ms() -> u64;
        stamped(conversation: ConversationId, stamp: Stamp) -> Later<Vec<MessageRow>>;
        history(conversation: ConversationId, before: Option<MessageId>, limit: usize)
            -> Later<Vec<MessageRow>>;
        newest_for(conversation: ConversationId, reader: UserId, alone: bool, id: MessageId)
            -> Later<Option<MessageId>>;
        unread(
            conversation: ConversationId, reader: UserId, read: Option<MessageId>, head: MessageId, cap: u32
        )
            -> Later<u32>;
        expire(before_ms: u64) -> Later<u64>;
        create_user(row: UserRow) -> Later<bool>;
        import_users(rows: Vec<UserRow>) -> Later<u64>;
        user(user: UserId) -> Later<Option<UserRow>>;
        change_user(user: UserId, change: UserChange) -> Later<Option<UserRow>>;
        find_users(prefix: String, limit: usize) -> Later<Vec<UserRow>>;
        set_block(user: UserId, blocked: UserId, on: bool) -> Later<()>;
        blocks(user: UserId) -> Later<Vec<UserId>>;
        is_blocked(user: UserId, blocked: UserId) -> Later<bool>;
        set_presence(row: PresenceRow, folded: Vec<Life>) -> Later<()>;
        presence(user: UserId) -> Later<Vec<PresenceRow>>;
        set_node(row: NodeRow) -> Later<()>;
        nodes() -> Later<Vec<NodeRow>>;
        revoke(token: uuid::Uuid, until_ms: u64) -> Later<()>;
        is_revoked(token: uuid::Uuid) -> Later<bool>;
        secret() -> [u8; 32];
        check() -> Later<()>;
    }
}

/// Ana and Ben at one node over an uncertain store, that gives up after `give_up_ms`.
async fn ana_and_ben(store: &Uncertain, give_up_ms: u64) -> (Client, Client) {
    let settings = Settings { commit_give_up_ms: give_up_ms, ..Settings::default() };
    let peers = Peers::default();
    let node = TestNode::start("here", Arc::new(store.clone()), &peers, settings);
    (node.join("ana").await, node.join("ben").await)
}

#[actix::test]
async fn a_commit_that_is_not_confirmed_is_repeated_with_change_ids_of_its_own() {
    let store = Uncertain::new([Fault::Loss, Fault::Silence]).await;
    let (mut ana, mut ben) = ana_and_ben(&store, 20_000).await;
    let hello = ana.writes("ben", "hello").await;
    ben.hears_message("hello").await;

    let tried = store.tried.lock().unwrap().clone();
    assert_eq!(tried.len(), 3);
    let ids = |attempt: &Vec<Commit>| -> Vec<ChangeId> {
        let members = attempt.iter().flat_map(|commit| &commit.members);
        members.filter_map(|member| member.change).map(|change| change.change).collect()
    };
    for pair in tried.windows(2) {
        assert_eq!(pair[0][0].message, pair[1][0].message, "the message stays what it is");
        assert!(ids(&pair[0]).iter().max() < ids(&pair[1]).iter().min(), "change ids are new");
    }
    let conversation = hello.conversation;
    assert_eq!(store.history(conversation, None, 10).await.unwrap().len(), 1);
}

#[actix::test]
async fn an_unknown_outcome_is_told_holds_what_follows_and_is_resolved_by_a_retry() {
    let store = Uncertain::new([Fault::Silence; 1]).await;
    let (mut ana, mut ben) = ana_and_ben(&store, 0).await;
    let (first, second) = (ana.message("ben", "first"), ana.message("ben", "second"));
    ana.says(first.clone()).await;
    assert_eq!(ana.answer(first.r#ref).await, Err(ErrorCode::Unknown));
    ana.says(second.clone()).await;
    assert_eq!(ana.answer(second.r#ref).await, Err(ErrorCode::Held));

    let mut again = first.clone();
    again.retry = true;
    ana.says(again).await;
    assert_eq!(ana.answer(first.r#ref).await, Ok(()));
    ana.says(second.clone()).await;
    assert_eq!(ana.answer(second.r#ref).await, Ok(()));
    ben.hears_message("first").await;
    ben.hears_message("second").await;
    assert_eq!(store.history(first.conversation, None, 10).await.unwrap().len(), 2);
}

#[actix::test]
async fn a_busy_store_is_told_as_busy_and_nothing_is_written() {
    let store = Uncertain::new([Fault::Busy]).await;
    let (mut ana, _ben) = ana_and_ben(&store, 20_000).await;
    let hello = ana.message("ben", "hello");
    ana.says(hello.clone()).await;
    assert_eq!(ana.answer(hello.r#ref).await, Err(ErrorCode::Busy));
    assert!(store.history(hello.conversation, None, 10).await.unwrap().is_empty());
    // The same frame, as the answer says.
    ana.says(hello.clone()).await;
    assert_eq!(ana.answer(hello.r#ref).await, Ok(()));
}

#[actix::test]
async fn busy_after_an_attempt_is_unknown_because_the_first_may_have_been_written() {
    let store = Uncertain::new([Fault::Silence, Fault::Busy, Fault::Busy]).await;
    let (mut ana, _ben) = ana_and_ben(&store, 50).await;
    let hello = ana.message("ben", "hello");
    ana.says(hello.clone()).await;
    assert_eq!(ana.answer(hello.r#ref).await, Err(ErrorCode::Unknown));
}

/// Waits until something is so.
async fn until(is_so: impl Fn() -> bool) {
    let waits = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waits).await.expect("in time");
}

#[actix::test]
async fn what_is_stored_once_its_sender_has_left_is_pushed_to_his_other_device() {
    let store = Uncertain::new([]).await;
    let peers = Peers::default();
    let here = TestNode::start("here", Arc::new(store.clone()), &peers, Settings::default());
    let (mut ana, mut other) = (here.join("ana").await, here.join("ana").await);
    let _ben = here.join("ben").await;
    let held = store.commits.lock().await;
    let hello = ana.message("ben", "hello");
    ana.says(hello).await;
    until(|| !store.tried.lock().unwrap().is_empty()).await;
    drop(ana);
    until(|| here.node.routers.sessions() == 2).await;
    drop(held);
    other.hears_message("hello").await;
}

#[actix::test]
async fn who_is_watched_again_and_again_is_read_once_while_the_store_does_not_answer() {
    let store = Uncertain::new([]).await;
    let (mut ana, _ben) = ana_and_ben(&store, 20_000).await;
    let held = store.inboxes.lock().await;
    let (before, watch) = (*held, Watch { user: "ben".parse().unwrap() });
    let beat = |frame| matches!(frame, ServerFrame::Beat(_)).then_some(());
    let watches = std::iter::repeat_n(ClientFrame::from(watch), 200);
    ana.says_all(watches.chain([Beat {}.into()])).await;
    ana.hears(beat).await;
    drop(held);
    assert!(!ana.hears_online().await, "they have no conversation");
    ana.says(Beat {}).await;
    ana.hears(beat).await;
    // Once, and once more when strangers are looked at.
    let reads = *store.inboxes.lock().await - before;
    assert!((1..=2).contains(&reads), "{reads} reads");
}

#[actix::test]
async fn who_is_unwatched_before_the_store_answers_is_not_watched() {
    let store = Uncertain::new([]).await;
    let (mut ana, _ben) = ana_and_ben(&store, 20_000).await;
    let held = store.inboxes.lock().await;
    let [ben, cid] = ["ben", "cid"].map(|user| Watch { user: user.parse().unwrap() });
    ana.says_all::<ClientFrame>([ben.clone().into(), Unwatch(ben).into(), cid.clone().into()])
        .await;
    ana.says(Beat {}).await;
    ana.hears(|frame| matches!(frame, ServerFrame::Beat(_)).then_some(())).await;
    drop(held);
    let told = ana.hears(|frame| match frame {
        ServerFrame::Presence(told) => Some(told.user),
        _ => None,
    });
    assert_eq!(told.await, cid.user);
}

#[actix::test]
async fn who_was_a_stranger_when_he_was_watched_is_shown_as_he_is_after_the_first_message() {
    let store = Uncertain::new([]).await;
    let (mut ana, mut ben) = ana_and_ben(&store, 20_000).await;
    ana.says(Watch { user: "ben".parse().unwrap() }).await;
    let told = |frame| match frame {
        ServerFrame::Presence(told) => Some(told.online),
        _ => None,
    };
    assert!(!ana.hears(told).await, "they have no conversation");
    // What may have come while the store was asked is looked for once; this comes after it.
    let before = *store.inboxes.lock().await;
    let looked = async {
        while *store.inboxes.lock().await == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), looked).await.expect("strangers are looked at");
    ben.writes("ana", "hello").await;
    assert!(ana.hears(told).await);
}

#[actix::test]
async fn an_open_session_in_doubt_is_pushed_to_while_its_log_is_read() {
    let store = Uncertain::new([]).await;
    let (mut ana, mut ben) = ana_and_ben(&store, 20_000).await;
    let log = store.logs.lock().await;
    // A session takes its frames in order: once the beat is answered it is in doubt.
    ben.says_all([ClientFrame::from(Sync { cursor: None }), Beat {}.into()]).await;
    ben.hears(|frame| matches!(frame, ServerFrame::Beat(_)).then_some(())).await;
    let hello = ana.writes("ben", "hello").await;
    let first = ben.hears(|frame| match frame {
        ServerFrame::Message(message) => Some(Some(message.r#ref)),
        ServerFrame::Synced(_) | ServerFrame::Reset(_) => Some(None),
        _ => None,
    });
    assert_eq!(first.await, Some(hello.r#ref));
    drop(log);
    ben.hears(|frame| matches!(frame, ServerFrame::Synced(_)).then_some(())).await;
}

#[actix::test]
async fn a_cursor_named_while_a_catch_up_reads_is_where_the_next_one_begins() {
    let store = Uncertain::new([]).await;
    let (_ana, mut ben) = ana_and_ben(&store, 20_000).await;
    let log = store.logs.lock().await;
    let named = Sync { cursor: Some("of no store".to_owned()) };
    ben.says_all::<ClientFrame>([Sync { cursor: None }.into(), Beat {}.into()]).await;
    ben.hears(|frame| matches!(frame, ServerFrame::Beat(_)).then_some(())).await;
    ben.says_all::<ClientFrame>([named.into(), Beat {}.into()]).await;
    ben.hears(|frame| matches!(frame, ServerFrame::Beat(_)).then_some(())).await;
    drop(log);
    let end = |frame| match frame {
        ServerFrame::Synced(_) => Some("synced"),
        ServerFrame::Reset(_) => Some("reset"),
        _ => None,
    };
    let ends = [ben.hears(end).await, ben.hears(end).await];
    assert_eq!(ends, ["synced", "reset"], "what was named is of no use, which has to be told");
}

#[actix::test]
async fn who_is_not_listened_to_is_not_silent_and_hears_that_the_node_lives() {
    let store = Uncertain::new([]).await;
    let settings = Settings { silence_ms: 1_000, ..Settings::default() };
    let here = TestNode::start("here", Arc::new(store.clone()), &Peers::default(), settings);
    let mut ana = here.join("ana").await;
    let held = store.inboxes.lock().await;
    // No more questions are answered at once: what comes behind them is not read.
    for _ in 0..4 {
        let r#ref = Ref::from(Uuid::new_v4());
        ana.says(InboxQuery { r#ref, before: None, limit: None }).await;
    }
    ana.says(Beat {}).await;
    let hears_beat = |unasked| {
        move |frame| match frame {
            ServerFrame::Beat(beat) if beat.unasked == unasked => Some(()),
            _ => None,
        }
    };
    let mut ben = here.admit("ben", 0).await;
    // Ben came later and might speak: once he is ended, she would have been.
    assert_eq!(ben.hears_bye().await, ByeReason::Silent);
    ana.hears(hears_beat(true)).await;
    drop(held);
    ana.hears(hears_beat(false)).await;
}

#[actix::test]
async fn what_devices_of_a_user_have_missed_is_read_once_for_all_that_wait() {
    let store = Uncertain::new([]).await;
    let settings = Settings { catch_ups_at_once: 1, ..Settings::default() };
    let peers = Peers::default();
    let here = TestNode::start("here", Arc::new(store.clone()), &peers, settings);
    let mut ana = here.join("ana").await;
    let mut devices = vec![here.join("ben").await, here.join("ben").await, here.join("ben").await];
    let cursor = Some(here.node.cursor(here.node.clock.now_ms()).to_string());
    ana.writes("ben", "hello").await;
    for device in &mut devices {
        device.hears_message("hello").await;
    }
    let read =
        async || [*store.logs.lock().await, *store.rows.lock().await, *store.inboxes.lock().await];
    let (before, place) = (read().await, here.node.admission.enter(Line::Reconnect).await);
    for device in &mut devices {
        let sync = Sync { cursor: cursor.clone() };
        device.says_all([ClientFrame::from(sync), Beat {}.into()]).await;
        device.hears(|frame| matches!(frame, ServerFrame::Beat(_)).then_some(())).await;
    }
    drop(place);
    for device in &mut devices {
        device.hears_message("hello").await;
        let inbox = |frame| matches!(frame, ServerFrame::Inbox(_)).then_some(());
        device.hears(inbox).await;
        device.hears(|frame| matches!(frame, ServerFrame::Synced(_)).then_some(())).await;
    }
    assert_eq!(read().await, before.map(|count| count + 1), "its log, its message, its inbox");
}
