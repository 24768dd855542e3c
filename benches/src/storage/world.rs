//! Who wrote what, and when: the same messages for every model, and what each question's answer is.
//!
//! One user talks with many others, half of each conversation is his. Everything follows from the
//! numbers asked for, so two runs write the same. Knows nothing of stores.

use std::collections::HashMap;

use rally_cluster::intent::{Intent, Pair};
use rally_schema::ids::Stamp;
use rally_schema::limits::UNREAD_CAP;
use rally_schema::{MessageId, Ref, UserId};
use uuid::Uuid;

use crate::dice::Dice;
use crate::people::user;

/// Conversations that an inbox shows: the prototype's arbitrary ten.
pub const INBOX: usize = 10;

/// Messages of a page, on the screen as before it.
pub const PAGE: usize = 50;

/// The moment that a catch-up begins at. Fixed, so that runs are alike, and in the middle of one of
/// Rally's buckets of ten days, so that no conversation is in two by chance.
pub const MOMENT_MS: u64 = 2_072 * 864_000_000 + 432_000_000;

/// How long nobody wrote before the moment: longer than the overlap that a catch-up reads again, so
/// that it reads what is new and nothing else.
const SILENCE_MS: u64 = 3_600_000;

/// Characters of a text after its number: what people write when they have time.
const TEXT_CHARS: usize = 90;

/// Digits of the number that each text begins with, by which an answer is known to be right.
const DIGITS: usize = 9;

/// How much was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Conversations of the user.
    pub conversations: usize,
    /// Messages of each before the moment.
    pub messages: usize,
    /// Messages of the long one before the moment.
    pub long: usize,
    /// Messages after the moment.
    pub news: usize,
    /// Conversations that these are spread over.
    pub news_in: usize,
}

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    /// Its place among all, in the order of time.
    pub number: u32,
    /// In which conversation.
    pub conversation: u32,
    /// Its place in that.
    pub nth: u32,
    /// Milliseconds since 1970; no two messages have the same.
    pub at: u64,
}

/// Whose inbox, history and news are asked for.
pub fn me() -> UserId {
    user(0)
}

/// The other member of a conversation.
pub fn peer(conversation: u32) -> UserId {
    user(1 + conversation as usize)
}

impl Said {
    /// Tells whether the user wrote it himself: every other one, the first included.
    pub fn is_mine(&self) -> bool {
        self.nth.is_multiple_of(2)
    }

    /// Who wrote it.
    pub fn sender(&self) -> UserId {
        if self.is_mine() { me() } else { peer(self.conversation) }
    }

    /// Who got it.
    pub fn recipient(&self) -> UserId {
        if self.is_mine() { peer(self.conversation) } else { me() }
    }

    /// What was written: the number, then letters that compress as words do.
    pub fn text(&self) -> String {
        let mut letters = Vec::with_capacity(TEXT_CHARS);
        Dice::new(u64::from(self.number)).text(TEXT_CHARS, &mut letters);
        let letters = String::from_utf8(letters).expect("letters and spaces");
        format!("{:0DIGITS$} {letters}", self.number)
    }

    /// What the prototype calls its id.
    pub fn id(&self) -> String {
        self.number.to_string()
    }

    /// The conversation as Rally names it.
    pub fn pair(&self) -> Pair {
        Pair::direct(self.sender(), self.recipient())
    }

    /// The message as Rally is asked to store it.
    pub fn intent(&self) -> (MessageId, Intent) {
        let (pair, text) = (self.pair(), self.text());
        let r#ref = Ref::from(Uuid::from_u64_pair(0, u64::from(self.number)));
        let stamp = Stamp { at: self.at, n: 0 };
        let id = MessageId::of(stamp, pair.actor, pair.conversation, r#ref, &text);
        (id, Intent::Send { id, r#ref, text, reply_to: None })
    }
}

/// Reads the number that a text, or the beginning of one, was written with.
pub fn number_of(text: &str) -> Option<u32> {
    text.get(..DIGITS)?.parse().ok()
}

/// One entry of an inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Newest {
    /// Who the conversation is with.
    pub peer: UserId,
    /// The number of its newest message.
    pub number: u32,
}

/// Everything that was written.
#[derive(Debug)]
pub struct World {
    shape: Shape,
    all: Vec<Said>,
}

impl World {
    /// Writes everything in the order of time.
    pub fn of(shape: Shape) -> Self {
        let mut said: Vec<u32> = before_the_moment(shape);
        let old = said.len();
        let news_in = shape.news_in.min(shape.conversations);
        let of_news = |nth: usize| (nth % news_in * shape.conversations / news_in) as u32;
        said.extend((0..shape.news).map(of_news));
        let mut counts = vec![0; shape.conversations];
        let all = said.into_iter().enumerate().map(|(number, conversation)| {
            let count = &mut counts[conversation as usize];
            let nth = *count;
            *count += 1;
            let at = match number.checked_sub(old) {
                Some(new) => MOMENT_MS + 1 + new as u64,
                None => MOMENT_MS - SILENCE_MS - (old - number) as u64,
            };
            Said { number: number as u32, conversation, nth, at }
        });
        Self { shape, all: all.collect() }
    }

    /// Gives how much was written.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Gives every message, in the order of time.
    pub fn all(&self) -> &[Said] {
        &self.all
    }

    /// Gives the ten latest conversations with the newest message of each, the latest first.
    pub fn inbox(&self) -> Vec<Newest> {
        let mut seen = vec![false; self.shape.conversations];
        let newest = self
            .all
            .iter()
            .rev()
            .filter(|said| !std::mem::replace(&mut seen[said.conversation as usize], true));
        let entry = |said: &Said| Newest { peer: peer(said.conversation), number: said.number };
        newest.take(INBOX).map(entry).collect()
    }

    /// Gives how many messages of each peer are unread: all of them, up to where counting stops.
    pub fn unread(&self) -> HashMap<UserId, u32> {
        let mut unread = HashMap::new();
        for said in self.all.iter().filter(|said| !said.is_mine()) {
            let count = unread.entry(said.sender()).or_insert(0);
            *count = UNREAD_CAP.min(*count + 1);
        }
        unread
    }

    /// Gives the oldest message that is on the screen of the long conversation, and the numbers of
    /// the page before it, newest first.
    pub fn older(&self) -> (Said, Vec<u32>) {
        let long = long_one(self.shape);
        let mut back = self.all.iter().rev().filter(|said| said.conversation == long);
        let before = *back.nth(PAGE - 1).expect("a long conversation has more than a page");
        (before, back.take(PAGE).map(|said| said.number).collect())
    }

    /// Gives the numbers of what is new since the moment, oldest first.
    pub fn news(&self) -> Vec<u32> {
        let new = self.all.iter().filter(|said| said.at > MOMENT_MS);
        new.map(|said| said.number).collect()
    }
}

/// The conversation that is long; a name in the middle of the alphabet, like any.
fn long_one(shape: Shape) -> u32 {
    (shape.conversations / 2) as u32
}

/// Says which conversation each message before the moment is in: each conversation is spread over
/// the whole time, and which one is the latest has nothing to do with its name.
fn before_the_moment(shape: Shape) -> Vec<u32> {
    let mut dice = Dice::new(1);
    let mut places = Vec::with_capacity(shape.conversations * shape.messages + shape.long);
    for conversation in 0..shape.conversations as u32 {
        let is_long = conversation == long_one(shape);
        let count = if is_long { shape.long } else { shape.messages };
        let place = |nth| ((nth as f64 + dice.share()) / count as f64, conversation);
        places.extend((0..count).map(place));
    }
    places.sort_by(|one, other| one.0.total_cmp(&other.0));
    places.into_iter().map(|(_, conversation)| conversation).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const SHAPE: Shape = Shape { conversations: 40, messages: 10, long: 200, news: 20, news_in: 5 };

    #[test]
    fn each_conversation_has_its_messages_half_of_each_side_and_none_in_one_millisecond() {
        let world = World::of(SHAPE);
        assert_eq!(world.all().len(), 39 * 10 + 200 + 20);
        let times: HashSet<u64> = world.all().iter().map(|said| said.at).collect();
        assert_eq!(times.len(), world.all().len());
        assert!(world.all().windows(2).all(|two| two[0].at < two[1].at));
        for conversation in 0..40 {
            let of = world.all().iter().filter(|said| said.conversation == conversation);
            let (mine, theirs): (Vec<&Said>, _) = of.partition(|said| said.is_mine());
            assert_eq!(mine.len(), theirs.len(), "{conversation}");
        }
    }

    #[test]
    fn the_latest_conversations_are_not_the_first_of_the_alphabet() {
        let world = World::of(SHAPE);
        let inbox = world.inbox();
        assert_eq!(inbox.len(), INBOX);
        assert!(inbox.windows(2).all(|two| two[0].number > two[1].number));
        let first: HashSet<UserId> = (0..INBOX as u32).map(peer).collect();
        assert!(inbox.iter().filter(|entry| first.contains(&entry.peer)).count() < INBOX);
        assert_eq!(inbox[0].number as usize, world.all().len() - 1);
    }

    #[test]
    fn an_older_page_is_full_and_what_is_new_is_spread() {
        let world = World::of(SHAPE);
        let (before, page) = world.older();
        assert_eq!(page.len(), PAGE);
        assert!(page.iter().all(|number| *number < before.number));
        assert_eq!(world.news().len(), 20);
        let of_news = world.all().iter().filter(|said| said.at > MOMENT_MS);
        let conversations: HashSet<u32> = of_news.map(|said| said.conversation).collect();
        assert_eq!(conversations.len(), 5);
    }

    #[test]
    fn a_text_says_which_message_it_is() {
        let world = World::of(Shape { conversations: 1, news_in: 1, ..SHAPE });
        for said in world.all() {
            assert_eq!(number_of(&said.text()), Some(said.number));
        }
        assert_eq!(number_of("hi"), None);
    }
}
