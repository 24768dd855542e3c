//! What a server's nodes measured themselves within the measured time, added up over all of them.
//!
//! They are asked from threads of their own: a page of metrics takes milliseconds, in which the
//! generator would be late. A node that does not answer leaves no figures, and breaks nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::thread::JoinHandle;

use crate::scrape::Scrape;

/// What of their histograms is reported, and under which name.
const METRICS: [(&str, &str); 4] = [
    ("rally_commit_seconds", "server: commit"),
    ("rally_delivery_seconds", "server: delivery"),
    ("rally_store_fsync_seconds", "server: fsync"),
    ("rally_parcel_confirm_seconds", "server: parcel"),
];

/// Nodes that are being asked.
#[derive(Debug)]
pub struct Asked(JoinHandle<Option<Scrape>>);

impl Asked {
    /// Asks all nodes now.
    pub fn of(nodes: &[SocketAddr]) -> Self {
        let nodes = nodes.to_vec();
        Self(std::thread::spawn(move || sum(&nodes)))
    }

    /// Waits for what they say; nothing where there are none, or one did not answer.
    pub fn answered(self) -> Option<Scrape> {
        self.0.join().ok().flatten()
    }
}

fn sum(nodes: &[SocketAddr]) -> Option<Scrape> {
    let scrapes = nodes.iter().map(|node| Scrape::of(*node).ok());
    let all: Vec<Scrape> = scrapes.collect::<Option<_>>()?;
    all.into_iter().reduce(|mut sum, more| {
        sum.add(&more);
        sum
    })
}

/// Gives what was gained between two readings, by name.
pub fn gained(before: &Scrape, after: &Scrape) -> BTreeMap<String, f64> {
    let took = METRICS.map(|(metric, name)| (name, after.took_since(before, metric)));
    let took = took.into_iter().filter(|(_, took)| took.count > 0.0);
    took.flat_map(|(name, took)| {
        let p99 = took.p99_ms.map(|ms| (format!("{name}, p99 at most"), ms));
        [(format!("{name}, mean"), took.mean_ms)].into_iter().chain(p99)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    fn page(count: u32, seconds: u32) -> String {
        format!(
            "rally_commit_seconds_sum {seconds}\nrally_commit_seconds_count {count}\n\
             rally_commit_seconds_bucket{{le=\"1\"}} 0\n\
             rally_commit_seconds_bucket{{le=\"+Inf\"}} {count}\n"
        )
    }

    #[test]
    fn what_the_server_s_histograms_do_not_bound_is_left_out() {
        let gained = gained(&Scrape::parse(&page(0, 1)), &Scrape::parse(&page(9, 1)));
        assert_eq!(gained.keys().collect::<Vec<_>>(), ["server: commit, mean"]);
    }

    /// A node that shows one page.
    fn node(page: String) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{page}", page.len())
                .unwrap();
        });
        address
    }

    #[test]
    fn what_two_nodes_say_is_added_up_and_a_silent_one_leaves_nothing() {
        let both = Asked::of(&[node(page(1, 3)), node(page(2, 6))]).answered().unwrap();
        let gained = gained(&Scrape::default(), &both);
        assert_eq!(gained["server: commit, mean"], 3_000.0, "nine seconds of three commits");
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(Asked::of(&[node(page(1, 3)), gone]).answered().is_none());
        assert!(Asked::of(&[]).answered().is_none());
    }
}
