//! The end of a run: everybody comes to rest, reads while others are away, and all is read back.

use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_rt::time::sleep;
use rally_proof::View;
use rally_proof::history::Device;
use rally_proof::phone::Wish;
use rally_schema::UserId;

use super::line::{Line, Record};
use super::site::Site;
use super::{PROGRESS, tell};

/// For how long nothing may happen at any device until it is at rest.
const QUIET: Duration = Duration::from_secs(3);

/// How long the other devices of a user are given to see one go, and to be told what is read.
const READING: Duration = Duration::from_secs(1);

/// The number of the device that reads everything back.
const READER: u8 = u8::MAX;

/// How long a user's reader has once another one's took all the time there was: nodes that answer
/// nobody are not waited for once a user.
const IN_PASSING: Duration = Duration::from_secs(2);

/// Waits until no device has anything left to do, and nothing happens any more; says what is waited
/// for when that takes too long.
pub async fn all(lines: &[Rc<Line>], record: &Record, patience: Duration) -> Option<String> {
    let mut watch = Watch::new(Instant::now(), patience);
    loop {
        let busy = lines.iter().find_map(|line| line.wants());
        let heard = lines.iter().map(|line| (line.heard(), line.device())).min();
        let events = record.entries.borrow().len();
        match watch.look(Instant::now(), busy, events, heard) {
            Look::Rests(after) => {
                tell(&format!("all is quiet after {:.1} s", after.as_secs_f64()));
                return None;
            }
            Look::GivenUp(busy) => {
                tell(&format!("not at rest after {} s: {busy}", patience.as_secs()));
                return Some(busy);
            }
            Look::Waits(Some(what)) => tell(&format!("waiting: {what}")),
            Look::Waits(None) => {}
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// What one look at all devices showed.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    /// They are at rest, after so long.
    Rests(Duration),
    /// They are not, and now and then it is told what is waited for.
    Waits(Option<String>),
    /// They are not, and were not for too long.
    GivenUp(String),
}

/// Looks for silence.
struct Watch {
    begun: Instant,
    patience: Duration,
    /// Since when nothing was left to do, and how many events there were then.
    quiet: (Instant, usize),
    told: Instant,
}

impl Watch {
    fn new(now: Instant, patience: Duration) -> Self {
        Self { begun: now, patience, quiet: (now, 0), told: now }
    }

    /// Takes what is left to do, how many events there were, and which device heard the cluster
    /// longest ago. One that was told nothing since all is quiet may hang on a dead connection, and
    /// lack what everybody else was told: silence is only what all have heard.
    fn look(
        &mut self,
        now: Instant,
        busy: Option<String>,
        events: usize,
        heard: Option<(Instant, Device)>,
    ) -> Look {
        if busy.is_some() || events != self.quiet.1 {
            self.quiet = (now, events);
        }
        let since = self.quiet.0;
        let deaf = heard.filter(|(last, _)| *last < since);
        if now - since >= QUIET && deaf.is_none() {
            return Look::Rests(now - self.begun);
        }
        let deaf = deaf.filter(|_| now > since).map(|(last, device)| {
            format!("{device} has heard nothing for {:.1} s", (now - last).as_secs_f64())
        });
        let what = busy.or(deaf);
        if now - self.begun > self.patience {
            return Look::GivenUp(what.unwrap_or_else(|| "something happens all the time".into()));
        }
        let is_due = now - self.told > PROGRESS;
        if is_due {
            self.told = now;
        }
        Look::Waits(is_due.then(|| what.unwrap_or_else(|| "for silence".into())))
    }
}

/// Has one device of each user be away while another one reads all there is: what it missed then no
/// later traffic mends. Comes to rest again, as [`all`] does.
pub async fn absence(
    lines: &[Rc<Line>],
    users: &[UserId],
    record: &Record,
    patience: Duration,
) -> Option<String> {
    let numbered = |number| lines.iter().filter(move |line| line.device().number == number);
    numbered(1).for_each(|line| line.set_online(false));
    sleep(READING).await;
    for reader in numbered(0) {
        users.iter().for_each(|at| reader.wish(Wish::Look { at: *at }));
    }
    sleep(READING).await;
    numbered(1).for_each(|line| line.set_online(true));
    all(lines, record, patience).await
}

/// Reads everything back, each user's by a device that knew nothing; with what is waited for when
/// somebody's takes too long.
pub async fn read_back(
    people: &[(UserId, String)],
    site: &Rc<Site>,
    patience: Duration,
) -> (Vec<View>, Option<String>) {
    let record = Rc::new(Record::new());
    let (mut stored, mut unread, mut has) = (Vec::new(), None, patience);
    let mut told = Instant::now();
    for (nth, (user, token)) in people.iter().enumerate() {
        let device = Device { user: *user, number: READER };
        let reader = Rc::new(Line::reader(device, token.clone(), site.clone(), record.clone()));
        let task = actix_rt::spawn(reader.clone().run());
        let missing = is_read(&reader, has).await;
        task.abort();
        has = if missing.is_none() { patience } else { IN_PASSING.min(patience) };
        if let Some(wants) = missing {
            let missing = format!("{wants}, when all of {user} was read back");
            tell(&missing);
            unread.get_or_insert(missing);
        }
        stored.extend(reader.phone.borrow().read_back());
        if told.elapsed() > PROGRESS {
            told = Instant::now();
            tell(&format!("{} of {} users are read back", nth + 1, people.len()));
        }
    }
    tell(&format!("{} conversations are read back", stored.len()));
    (stored, unread)
}

/// Waits until a device has read all there is; says what is waited for when that takes too long.
async fn is_read(reader: &Line, patience: Duration) -> Option<String> {
    let begun = Instant::now();
    while let Some(wants) = reader.wants() {
        if begun.elapsed() > patience {
            return Some(wants);
        }
        sleep(Duration::from_millis(10)).await;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn device() -> Device {
        Device { user: "ana".parse().unwrap(), number: 0 }
    }

    /// A watch, and how it looks some seconds after its begin.
    struct Timed(Watch, Instant);

    impl Timed {
        fn new(patience_s: u32) -> Self {
            let begun = Instant::now();
            Self(Watch::new(begun, SECOND * patience_s), begun)
        }

        fn look(&mut self, at_s: u32, busy: Option<&str>, events: usize, heard_s: u32) -> Look {
            let at = |seconds| self.1 + SECOND * seconds;
            let heard = Some((at(heard_s), device()));
            self.0.look(at(at_s), busy.map(str::to_owned), events, heard)
        }
    }

    #[test]
    fn rest_is_three_seconds_in_which_nothing_happens_and_nobody_wants_anything() {
        let mut watch = Timed::new(60);
        assert_eq!(watch.look(0, Some("ana/0 is away"), 0, 0), Look::Waits(None));
        assert_eq!(watch.look(2, None, 0, 2), Look::Waits(None), "it is quiet since 0 s");
        assert_eq!(watch.look(3, None, 1, 3), Look::Waits(None), "something happened");
        assert_eq!(watch.look(5, None, 1, 5), Look::Waits(None), "2 s ago");
        assert_eq!(watch.look(6, None, 1, 5), Look::Rests(SECOND * 6));
    }

    #[test]
    fn who_has_not_heard_the_silence_is_waited_for_by_name() {
        let mut watch = Timed::new(20);
        assert_eq!(watch.look(1, None, 7, 0), Look::Waits(None));
        assert_eq!(watch.look(4, None, 7, 0), Look::Waits(None), "it may lack what others have");
        let told = Look::Waits(Some("ana/0 has heard nothing for 6.0 s".to_owned()));
        assert_eq!(watch.look(6, None, 7, 0), told);
        let given_up = Look::GivenUp("ana/0 has heard nothing for 21.0 s".to_owned());
        assert_eq!(watch.look(21, None, 7, 0), given_up);
        assert_eq!(watch.look(21, None, 7, 1), Look::Rests(SECOND * 21));
    }

    #[test]
    fn what_is_waited_for_is_told_now_and_then_and_at_the_end() {
        let mut watch = Timed::new(10);
        let away = Some("ana/0 is away");
        let told: Vec<u32> = (1..=10)
            .filter(|second| watch.look(*second, away, 0, 0) != Look::Waits(None))
            .collect();
        assert_eq!(told, [6], "every {PROGRESS:?}");
        assert_eq!(watch.look(11, away, 0, 0), Look::GivenUp("ana/0 is away".to_owned()));
        let mut watch = Timed::new(10);
        let always = (1..=11).map(|second| watch.look(second, None, second as usize, second));
        let always = always.last().expect("eleven looks");
        assert_eq!(always, Look::GivenUp("something happens all the time".to_owned()));
    }

    #[actix_rt::test]
    async fn a_cluster_that_is_gone_is_given_up_with_who_waited_and_why() {
        // A port that was free a moment ago: whoever asks there is refused.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let site = Rc::new(Site::new(&[format!("http://127.0.0.1:{port}")]));
        let record = Rc::new(Record::new());
        let line = Line::new(device(), 0, "a-secret".to_owned(), site.clone(), record.clone());
        let line = Rc::new(line);
        let task = actix_rt::spawn(line.clone().run());
        // Asking once takes what it takes; the bound counts from then on.
        while !line.wants().is_some_and(|wants| wants.contains("/api/discover")) {
            sleep(Duration::from_millis(10)).await;
        }
        let waited_for = all(&[line], &record, Duration::from_millis(300)).await;
        task.abort();
        let waited_for = waited_for.expect("nobody is at rest");
        assert!(waited_for.starts_with("ana/0 is away: http://127.0.0.1"), "{waited_for}");
        let people = ["ana", "ben", "cid"].map(|name| (name.parse().unwrap(), "a-secret".into()));
        let (stored, unread) = read_back(&people, &site, Duration::from_millis(300)).await;
        let unread = unread.expect("nobody's is read");
        assert!(stored.is_empty() && unread.starts_with("ana/255 is away"), "{unread}");
        assert!(unread.ends_with("when all of ana was read back"), "the first is named: {unread}");
        assert!(!format!("{waited_for}{unread}").contains("secret"), "a token is in no message");
    }
}
