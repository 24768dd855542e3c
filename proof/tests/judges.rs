//! Each judge finds a history broken that breaks its promise, and lets a good one pass.

use rally_proof::history::{Device, Entry, Event, HISTORY_VERSION};
use rally_proof::{History, PROMISES, Shown, Span, View, judge};
use rally_schema::ids::Stamp;
use rally_schema::{ConversationId, EditId, ErrorCode, MessageId, Ref, UserId};
use uuid::Uuid;

/// Who they are, what ana wrote to ben, and how she edited the first.
struct Talk {
    ana: UserId,
    ben: UserId,
    conversation: ConversationId,
    refs: [Ref; 2],
    ids: [MessageId; 2],
    edit: EditId,
    /// What ana's device calls that.
    change: Ref,
}

impl Talk {
    fn new() -> Self {
        let (ana, ben) = ("ana".parse().expect("a name"), "ben".parse().expect("a name"));
        let conversation = ConversationId::direct(ana, ben);
        let refs = [1, 2].map(|n| Ref::from(Uuid::from_u128(n)));
        let id = |at, r#ref, text: &str| {
            MessageId::of(Stamp { at, n: 0 }, ana, conversation, r#ref, text)
        };
        let ids = [id(100, refs[0], "one"), id(200, refs[1], "two")];
        let change = Ref::from(Uuid::from_u128(3));
        let edit = EditId::of(Stamp { at: 300, n: 0 }, ana, conversation, ids[0], change, "won");
        Self { ana, ben, conversation, refs, ids, edit, change }
    }

    /// Both messages, as everybody sees them; `read` and `delivered` is the second.
    fn view(&self, user: UserId, number: Option<u8>) -> View {
        let shown = |n: usize, text: &str, edit| Shown {
            id: self.ids[n],
            sender: self.ana,
            r#ref: self.refs[n],
            text: text.to_owned(),
            edit,
            deleted: false,
        };
        let last = Some(self.ids[1]);
        let (read_up_to, ticks) = if user == self.ben { (last, None) } else { (None, last) };
        View {
            user,
            number,
            conversation: self.conversation,
            messages: vec![shown(0, "won", Some(self.edit)), shown(1, "two", None)],
            unread: 0,
            read_up_to,
            peer_delivered_up_to: ticks,
            peer_read_up_to: ticks,
        }
    }

    /// A history in which everything is as it should be.
    fn history(&self) -> History {
        let (ana, ben) = (self.ana, self.ben);
        let devices = [(ana, 0), (ana, 1), (ben, 0), (ben, 1)];
        let device = |(user, number)| Device { user, number };
        let (conversation, [first, second]) = (self.conversation, self.ids);
        let wrote = |n: usize, text: &str| Event::Wrote {
            r#ref: self.refs[n],
            conversation,
            to: ben,
            text: text.to_owned(),
        };
        let acked = |n: usize| Event::Acked { r#ref: self.refs[n], id: self.ids[n] };
        let mut entries = Vec::new();
        let mut happens = |at_ms, who, event| {
            entries.push(Entry { at_ms, device: device(who), event });
        };
        for who in devices {
            happens(10, who, Event::Connects { node: "n1".parse().expect("a name") });
            happens(20, who, Event::Synced);
        }
        happens(100, devices[0], wrote(0, "one"));
        happens(101, devices[0], acked(0));
        for who in devices {
            happens(102, who, Event::Appeared { id: first });
        }
        happens(150, devices[0], Event::Contradicted { r#ref: self.refs[0] });
        let code = ErrorCode::RefConflict;
        happens(151, devices[0], Event::Refused { r#ref: self.refs[0], code });
        happens(200, devices[0], wrote(1, "two"));
        happens(201, devices[0], Event::Unsure { r#ref: self.refs[1] });
        happens(202, devices[0], acked(1));
        for who in devices {
            happens(203, who, Event::Appeared { id: second });
        }
        let counted =
            |head, unread| Event::Counted { conversation, head, read_up_to: None, unread };
        happens(204, devices[2], counted(first, 1));
        happens(205, devices[3], counted(second, 2));
        let change = self.change;
        happens(299, devices[0], Event::Edits { r#ref: change, id: first, text: "won".into() });
        happens(300, devices[0], Event::Changed { r#ref: change });
        happens(300, devices[0], Event::Edited { id: first, edit: self.edit, text: "won".into() });
        happens(310, devices[2], Event::Read { conversation, id: second });
        let delivered_up_to = Some(second);
        for read_up_to in [None, Some(second)] {
            let caught_up = true;
            let told = Event::Ticked { conversation, caught_up, delivered_up_to, read_up_to };
            happens(320, devices[1], told);
        }
        happens(330, devices[2], Event::Watches { user: ana });
        happens(331, devices[2], Event::Presence { user: ana, online: true });
        History {
            entries,
            views: devices.map(|(user, number)| self.view(user, Some(number))).into(),
            stored: [ana, ben].map(|user| self.view(user, None)).into(),
            calm: vec![Span { from_ms: 50, to_ms: 20_000 }],
            ended_ms: 60_000,
            ..History::default()
        }
    }
}

/// Alters the good history, and gives which promises are broken now.
fn broken(alter: impl FnOnce(&Talk, &mut History)) -> Vec<u8> {
    let talk = Talk::new();
    let mut history = talk.history();
    alter(&talk, &mut history);
    judge(&history).into_iter().map(|breach| breach.number).collect()
}

fn without(history: &mut History, which: impl Fn(&Event) -> bool) {
    history.entries.retain(|entry| !which(&entry.event));
}

#[test]
fn a_good_history_breaks_nothing_and_every_promise_was_judged_by_it() {
    let history = Talk::new().history();
    assert_eq!(judge(&history), []);
    let unseen = PROMISES.iter().filter(|promise| promise.count(&history).judged == 0);
    assert_eq!(unseen.count(), 0);
}

#[test]
fn an_empty_history_has_nothing_to_judge() {
    for promise in &PROMISES {
        assert_eq!(promise.count(&History::default()).judged, 0, "{}", promise.number);
    }
}

/// Alters the good history, and gives which promises nothing is left to judge by.
fn unseen(alter: impl FnOnce(&Talk, &mut History)) -> Vec<u8> {
    let talk = Talk::new();
    let mut history = talk.history();
    alter(&talk, &mut history);
    let unseen = PROMISES.iter().filter(|promise| promise.count(&history).judged == 0);
    unseen.map(|promise| promise.number).collect()
}

#[test]
fn what_proves_nothing_does_not_count_as_judged() {
    // No message had the time that it may take.
    let short = |_: &Talk, history: &mut History| history.calm[0].to_ms = 200 + 4_999;
    assert_eq!(
        unseen(|talk, history| {
            short(talk, history);
            without(history, |event| matches!(event, Event::Wrote { text, .. } if text == "one"));
        }),
        [10]
    );
    // Whoever wrote did not read meanwhile.
    let deaf = |_: &Talk, history: &mut History| {
        let device = history.entries[0].device;
        history.entries.insert(0, Entry { at_ms: 5, device, event: Event::StopsReading });
    };
    assert_eq!(unseen(deaf), [10]);
    // It was refused before anybody looked at what it contradicts.
    let refused = |_: &Talk, history: &mut History| {
        for entry in &mut history.entries {
            if let Event::Refused { code, .. } = &mut entry.event {
                *code = ErrorCode::TextTooLong;
            }
        }
    };
    assert_eq!(unseen(refused), [4]);
}

#[test]
fn a_message_that_a_member_cannot_read_is_lost() {
    for member in [0, 1] {
        let broken = broken(|_, history| drop(history.stored[member].messages.pop()));
        assert!(broken.contains(&1), "{broken:?}");
    }
    assert!(broken(|_, history| history.stored.clear()).contains(&1));
    let other = |_: &Talk, history: &mut History| {
        for view in history.stored.iter_mut().chain(&mut history.views) {
            view.messages[1].text = "another".to_owned();
        }
    };
    assert_eq!(broken(other), [1]);
}

#[test]
fn what_is_stored_and_was_never_asked_for_breaks_the_first() {
    let everywhere = |history: &mut History, alter: &dyn Fn(&mut Shown)| {
        for view in history.stored.iter_mut().chain(&mut history.views) {
            alter(&mut view.messages[1]);
        }
    };
    let delete = |message: &mut Shown| (message.deleted, message.text) = (true, String::new());
    let edit = |talk: &Talk, message: &mut Shown| {
        (message.edit, message.text) = (Some(talk.edit), "tow".to_owned());
    };
    assert_eq!(broken(|_, history| everywhere(history, &delete)), [1]);
    assert_eq!(broken(|talk, history| everywhere(history, &|m| edit(talk, m))), [1]);
    // It was wanted, and given up because the server said that it never will be.
    let wanted = |talk: &Talk, history: &mut History, refused: bool| {
        everywhere(history, &|message| edit(talk, message));
        let device = Device { user: talk.ana, number: 0 };
        let (r#ref, id, text) = (Ref::from(Uuid::from_u128(4)), talk.ids[1], "tow".to_owned());
        let code = ErrorCode::TextTooLong;
        let answer =
            if refused { Event::Refused { r#ref, code } } else { Event::Changed { r#ref } };
        for event in [Event::Edits { r#ref, id, text }, answer] {
            history.entries.push(Entry { at_ms: 400, device, event });
        }
    };
    assert_eq!(broken(|talk, history| wanted(talk, history, false)), [0; 0]);
    assert_eq!(broken(|talk, history| wanted(talk, history, true)), [1]);
    let sender = |talk: &Talk, history: &mut History| {
        everywhere(history, &|message| message.sender = talk.ben);
        for view in history.stored.iter_mut().chain(&mut history.views) {
            view.unread = u32::from(view.user == talk.ana);
        }
        without(history, |event| matches!(event, Event::Counted { .. }));
    };
    assert_eq!(broken(sender), [1]);
}

#[test]
fn a_history_that_does_not_say_what_was_wanted_is_judged_by_the_rest() {
    let earlier = |alter: &dyn Fn(&mut History)| {
        broken(|_, history| {
            history.version = 1;
            let says = |event: &Event| matches!(event, Event::Edits { .. } | Event::Deletes { .. });
            without(history, says);
            alter(history);
        })
    };
    assert_eq!(earlier(&|_| ()), [0; 0]);
    assert!(earlier(&|history| history.stored.clear()).contains(&1));
}

/// What each version wrote, and how many events that has; a new one adds its own.
const KEPT: [(u16, usize, &[u8]); 3] = [
    (1, 30, include_bytes!("history-v1.jsonl")),
    (2, 31, include_bytes!("history-v2.jsonl")),
    (3, 33, include_bytes!("history-v3.jsonl")),
];

#[test]
fn what_any_version_kept_is_judged_by_all_ten() {
    assert_eq!(KEPT.last().map(|(version, ..)| *version), Some(HISTORY_VERSION));
    for (version, events, file) in KEPT {
        let kept = rally_proof::file::read(file).unwrap();
        assert_eq!((kept.version, kept.entries.len(), judge(&kept)), (version, events, vec![]));
        let unseen = PROMISES.iter().filter(|promise| promise.count(&kept).judged == 0);
        assert_eq!(unseen.count(), 0, "version {version}");
    }
}

#[test]
fn a_device_that_shows_what_is_not_stored_breaks_the_second_promise() {
    let text =
        |_: &Talk, history: &mut History| "tow".clone_into(&mut history.views[2].messages[1].text);
    assert_eq!(broken(text), [2]);
    let deleted = |_: &Talk, history: &mut History| {
        let message = &mut history.views[2].messages[1];
        (message.deleted, message.text) = (true, String::new());
    };
    assert_eq!(broken(deleted), [2]);
    let r#ref = |talk: &Talk, history: &mut History| {
        history.views[2].messages[1].r#ref = talk.refs[0];
    };
    assert_eq!(broken(r#ref), [2]);
}

#[test]
fn a_device_that_shows_too_little_too_much_or_twice_breaks_the_second_promise() {
    assert_eq!(broken(|_, history| drop(history.views.pop())), [2]);
    assert_eq!(broken(|_, history| drop(history.views[3].messages.pop())), [2]);
    let more = |talk: &Talk, history: &mut History| {
        let conversation = ConversationId::direct(talk.ana, talk.ana);
        let alone = View { conversation, ..history.views[1].clone() };
        history.views.push(View { peer_delivered_up_to: None, peer_read_up_to: None, ..alone });
    };
    assert_eq!(broken(more), [2]);
    let twice = |_: &Talk, history: &mut History| {
        let again = history.views[0].messages[1].clone();
        history.views[0].messages.push(again);
    };
    assert!(broken(twice).contains(&2));
}

#[test]
fn another_order_breaks_the_third() {
    assert_eq!(broken(|_, history| history.views[1].messages.swap(0, 1)), [3]);
    assert_eq!(broken(|_, history| history.stored[1].messages.swap(0, 1)), [3]);
    let crossed = |talk: &Talk, history: &mut History| {
        for entry in &mut history.entries {
            if let Event::Wrote { r#ref, .. } = &mut entry.event {
                *r#ref = talk.refs[usize::from(*r#ref == talk.refs[0])];
            }
        }
    };
    assert!(broken(crossed).contains(&3));
}

#[test]
fn a_reference_that_means_two_things_breaks_the_fourth() {
    let both = |talk: &Talk, history: &mut History| {
        let device = Device { user: talk.ana, number: 0 };
        let event = Event::Acked { r#ref: talk.refs[0], id: talk.ids[0] };
        history.entries.push(Entry { at_ms: 400, device, event });
    };
    assert_eq!(broken(both), [4]);
    let read_twice = |_: &Talk, history: &mut History| {
        let again = history.stored[0].messages[1].clone();
        history.stored[0].messages.push(again);
    };
    assert_eq!(broken(read_twice), [3, 4]);
}

#[test]
fn a_tick_that_goes_back_or_stands_on_nothing_breaks_the_fifth() {
    let back = |_: &Talk, history: &mut History| {
        let ticked = |entry: &&mut Entry| matches!(entry.event, Event::Ticked { .. });
        let last = history.entries.iter_mut().rev().find(ticked).unwrap();
        if let Event::Ticked { delivered_up_to, read_up_to, .. } = &mut last.event {
            (*delivered_up_to, *read_up_to) = (None, None);
        }
    };
    assert_eq!(broken(back), [5]);
    let unread = |_: &Talk, history: &mut History| {
        for entry in &mut history.entries {
            if let Event::Ticked { delivered_up_to, .. } = &mut entry.event {
                *delivered_up_to = None;
            }
        }
    };
    assert_eq!(broken(unread), [5]);
}

#[test]
fn a_badge_that_differs_and_a_mark_that_is_lost_break_the_sixth() {
    assert_eq!(broken(|_, history| history.views[2].unread = 1), [6]);
    assert_eq!(broken(|_, history| history.stored[1].unread = 1), [6]);
    assert_eq!(broken(|_, history| history.views[0].peer_read_up_to = None), [6]);
    let unmarked = |_: &Talk, history: &mut History| {
        for view in history.stored.iter_mut().chain(&mut history.views) {
            (view.read_up_to, view.peer_read_up_to) = (None, None);
            view.unread = if view.peer_delivered_up_to.is_none() { 2 } else { 0 };
        }
    };
    assert_eq!(broken(unmarked), [6]);
}

#[test]
fn a_count_of_what_is_not_up_to_its_head_breaks_the_sixth() {
    let told = |history: &mut History, more: u32, retried: bool| {
        let first = |event: &Event| matches!(event, Event::Counted { .. });
        let first = history.entries.iter_mut().find(|entry| first(&entry.event));
        let Some(Event::Counted { unread, .. }) = first.map(|entry| &mut entry.event) else {
            panic!("the good history has counts")
        };
        *unread = *unread + more - 1;
        if !retried {
            without(history, |event| matches!(event, Event::Unsure { .. }));
        }
    };
    assert_eq!(broken(|_, history| told(history, 2, false)), [6], "the second is above the head");
    assert_eq!(broken(|_, history| told(history, 0, false)), [0; 0], "one was stored later");
    assert_eq!(broken(|_, history| told(history, 2, true)), [0; 0], "it had a smaller twin");
    assert_eq!(broken(|_, history| told(history, 3, true)), [6], "there are but two");
}

#[test]
fn who_is_here_and_never_shown_breaks_the_seventh() {
    let presence = |event: &Event| matches!(event, Event::Presence { .. });
    assert_eq!(broken(|_, history| without(history, presence)), [7]);
    let gone = |_: &Talk, history: &mut History| {
        for entry in &mut history.entries {
            if let Event::Presence { online, .. } = &mut entry.event {
                *online = false;
            }
        }
    };
    assert_eq!(broken(gone), [7]);
    let blocked = |talk: &Talk, history: &mut History| {
        gone(talk, history);
        let device = Device { user: talk.ana, number: 0 };
        for (at_ms, blocked) in [(325, true), (400, false)] {
            let event = Event::Blocks { user: talk.ben, blocked };
            history.entries.push(Entry { at_ms, device, event });
        }
    };
    assert_eq!(broken(blocked), [0; 0]);
    // By two devices, of which the last one lifts it before anything is shown.
    let long_ago = |talk: &Talk, history: &mut History| {
        gone(talk, history);
        for entry in &mut history.entries {
            if matches!(entry.event, Event::Watches { .. } | Event::Presence { .. }) {
                entry.at_ms += 30_000;
            }
        }
        for (number, at_ms, blocked) in [(0, 1, true), (1, 2, true), (0, 3, false), (1, 4, false)] {
            let device = Device { user: talk.ana, number };
            let event = Event::Blocks { user: talk.ben, blocked };
            history.entries.push(Entry { at_ms, device, event });
        }
    };
    assert_eq!(broken(long_ago), [7]);
    // Whatever stood still, stood still for three seconds, and is excused once.
    let stood_still = |ms: u64| {
        broken(|talk, history| {
            let online = |event: &Event| matches!(event, Event::Presence { online: true, .. });
            without(history, online);
            let device = Device { user: talk.ben, number: 0 };
            let event = Event::Presence { user: talk.ana, online: true };
            history.entries.push(Entry { at_ms: 330 + ms, device, event });
            history.stalls = vec![Span { from_ms: 1_000, to_ms: 4_000 }; 2];
        })
    };
    assert_eq!(stood_still(8_000), [0; 0]);
    assert_eq!(stood_still(8_001), [7]);
    let left = |talk: &Talk, history: &mut History| {
        for number in [0, 1] {
            let device = Device { user: talk.ana, number };
            history.entries.push(Entry { at_ms: 400, device, event: Event::Disconnected });
        }
    };
    assert_eq!(broken(left), [7]);
}

#[test]
fn an_edit_or_deletion_that_is_undone_breaks_the_eighth() {
    let undone = |_: &Talk, history: &mut History| {
        let message = &mut history.views[3].messages[0];
        (message.edit, message.text) = (None, "one".to_owned());
    };
    assert_eq!(broken(undone), [2, 8]);
    let deleted = |talk: &Talk, history: &mut History| {
        let device = Device { user: talk.ana, number: 0 };
        let event = Event::Deleted { id: talk.ids[1] };
        history.entries.push(Entry { at_ms: 400, device, event });
    };
    assert_eq!(broken(deleted), [8]);
}

#[test]
fn what_is_never_answered_or_refused_and_stored_breaks_the_ninth() {
    let acked = |talk: Ref| move |event: &Event| matches!(event, Event::Acked { r#ref, .. } if *r#ref == talk);
    let unanswered = |talk: &Talk, history: &mut History| without(history, acked(talk.refs[1]));
    assert!(broken(unanswered).contains(&9));
    let refused = |talk: &Talk, history: &mut History| {
        for entry in &mut history.entries {
            if matches!(&entry.event, Event::Acked { r#ref, .. } if *r#ref == talk.refs[1]) {
                let (r#ref, code) = (talk.refs[1], ErrorCode::Unreachable);
                entry.event = Event::Refused { r#ref, code };
            }
        }
    };
    assert!(broken(refused).contains(&9));
}

#[test]
fn a_queue_over_its_bound_and_a_message_that_waits_break_the_tenth() {
    let over = |_: &Talk, history: &mut History| {
        let (bound, most) = (10, 11);
        history.queues.push(rally_proof::Queue { name: "a queue".to_owned(), bound, most });
    };
    assert_eq!(broken(over), [10]);
    let late = |talk: &Talk, history: &mut History| {
        for entry in &mut history.entries {
            if matches!(&entry.event, Event::Appeared { id } if *id == talk.ids[1]) {
                entry.at_ms += 9_000;
            }
        }
    };
    assert_eq!(broken(late), [10]);
    // But for as long as the checker itself stood still.
    let excused = |talk: &Talk, history: &mut History| {
        late(talk, history);
        history.stalls.push(Span { from_ms: 1_000, to_ms: 5_100 });
    };
    assert_eq!(broken(excused), [0; 0]);
    let never = |talk: &Talk, history: &mut History| {
        let gone = talk.ids[1];
        without(history, |event| matches!(event, Event::Appeared { id } if *id == gone));
    };
    assert_eq!(broken(never), [10]);
}
