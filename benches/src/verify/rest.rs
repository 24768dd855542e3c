//! The end of a run: everybody comes to rest, and all is read back.

use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_rt::time::sleep;
use rally_proof::View;
use rally_proof::history::Device;
use rally_schema::UserId;

use super::line::{Line, Record};
use super::site::Site;
use super::{PROGRESS, tell};

/// How long all may take to come to rest.
const REST: Duration = Duration::from_secs(180);

/// For how long nothing may happen at any device until it is at rest.
const QUIET: Duration = Duration::from_secs(3);

/// The number of the device that reads everything back.
const READER: u8 = u8::MAX;

/// Waits until no device has anything left to do, and nothing happens any more; says what is waited
/// for when that takes too long.
pub async fn all(lines: &[Rc<Line>], record: &Record) -> Option<String> {
    let (begun, mut told) = (Instant::now(), Instant::now());
    let (mut count, mut since) = (0, Instant::now());
    while since.elapsed() < QUIET {
        let busy = lines.iter().find_map(|line| line.wants());
        let now = record.entries.borrow().len();
        if busy.is_some() || now != count {
            (count, since) = (now, Instant::now());
        }
        if begun.elapsed() > REST {
            let busy = busy.unwrap_or_else(|| "something happens all the time".to_owned());
            tell(&format!("not at rest after {} s: {busy}", REST.as_secs()));
            return Some(busy);
        }
        if told.elapsed() > PROGRESS {
            told = Instant::now();
            tell(&format!("waiting: {}", busy.as_deref().unwrap_or("for silence")));
        }
        sleep(Duration::from_millis(100)).await;
    }
    tell(&format!("all is quiet after {:.1} s", begun.elapsed().as_secs_f64()));
    None
}

/// Reads everything back, each user's by a device that knew nothing; with what is waited for when
/// somebody's takes too long.
pub async fn read_back(
    people: &[(UserId, String)],
    site: &Rc<Site>,
) -> (Vec<View>, Option<String>) {
    let record = Rc::new(Record::new());
    let (mut stored, mut unread) = (Vec::new(), None);
    for (user, token) in people {
        let device = Device { user: *user, number: READER };
        let reader = Rc::new(Line::new(device, 0, token.clone(), site.clone(), record.clone()));
        let task = actix_rt::spawn(reader.clone().run());
        let begun = Instant::now();
        while let Some(wants) = reader.wants() {
            if begun.elapsed() > REST {
                let missing = format!("{wants}, when all of {user} was read back");
                tell(&missing);
                unread.get_or_insert(missing);
                break;
            }
            sleep(Duration::from_millis(10)).await;
        }
        task.abort();
        stored.extend(reader.phone.borrow().read_back());
    }
    tell(&format!("{} conversations are read back", stored.len()));
    (stored, unread)
}
