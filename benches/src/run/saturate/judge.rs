//! The judge of one rate: whether it holds, why not, and what was busy then.
//!
//! Knows nothing of other rates.

use super::search::Tried;
use crate::run::measured::Measured;

/// Which share of what is due a server must keep up with: the rest would queue up without end.
const KEEPS_UP: f64 = 0.98;

/// Of one core: a thread that uses more is what bounds.
const BUSY: f64 = 0.85;

/// Judges a rate by its run.
pub fn judge(rate: f64, run: &Measured, at_most_ms: f64) -> Tried {
    let p99 = run.spans.get("delivered").map(|spans| spans.0.value_at_quantile(0.99) as f64 / 1e6);
    let mut misses = Vec::new();
    match p99 {
        None => misses.push("nothing was delivered in time to be measured".to_owned()),
        Some(ms) if ms > at_most_ms => misses.push(format!("p99 {ms:.1} ms, above {at_most_ms}")),
        Some(_) => {}
    }
    let p99_ms = p99.unwrap_or(f64::INFINITY);
    // What was sent last may be under way for as long as that when the measured time ends.
    let window_ms = run.window_ns.max(1) as f64 / 1e6;
    let under_way = (run.due as f64 * p99_ms.min(at_most_ms) / window_ms).ceil();
    if run.messages as f64 + under_way < run.due as f64 * KEEPS_UP {
        misses.push(format!("acked {} of {} due", run.messages, run.due));
    }
    let broken = (!run.balance.is_clean()).then(|| run.balance.line());
    misses.extend(broken.clone());
    misses.extend(run.owed());
    misses.extend(run.errors.first().cloned());
    let generator = run.bottleneck().is_some();
    Tried { rate, p99_ms, misses, broken, generator, bounds: bounds(run) }
}

/// Names what was busy.
fn bounds(run: &Measured) -> String {
    if let Some(said) = run.bottleneck() {
        return format!("the generator: {said}");
    }
    if !run.server.is_known() {
        return "not known: nobody's processes were looked at (--pid)".to_owned();
    }
    let window = run.window_ns.max(1) as f64;
    // What else runs fills the machine as well: a database, a broker, another machine on the same
    // processor. And this process may be kept to some of its cores, the server with it.
    let own_cores = std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
    let cores = own_cores.max(run.processors.map_or(0.0, |all| f64::from(all.count)));
    let own = (run.server.cpu_ns + run.own_cpu_ns) as f64 / window;
    let stolen = run.processors.map_or(0.0, |all| all.stolen_ns as f64 / window);
    let busy = run.processors.map_or(0.0, |all| all.busy_ns as f64 / window) + stolen;
    let all = busy.max(own);
    let busiest = run.server.busiest_thread.as_ref();
    if let Some(thread) = busiest.filter(|thread| thread.cpu_ns as f64 > BUSY * window) {
        let percent = thread.cpu_ns as f64 / window * 100.0;
        return format!("the server's {}: {percent:.0} % of a core", thread.name);
    }
    if own > BUSY * own_cores || all > BUSY * cores {
        let full = if own > BUSY * own_cores { own_cores } else { cores };
        return format!(
            "all {full} cores: {all:.1} of them busy or stolen ({stolen:.1}), with the server and the \
             generator {own:.1}"
        );
    }
    let mean = |of: &str| run.server.metrics.get(&format!("server: {of}, mean")).copied();
    match (mean("fsync"), mean("commit"), mean("parcel")) {
        (Some(fsync), Some(commit), _) if fsync * 2.0 > commit => {
            format!("the disk: a sync takes {fsync:.1} ms of a commit's {commit:.1}")
        }
        (_, Some(commit), Some(parcel)) if parcel > commit => {
            format!(
                "the broker: it answers for a parcel after {parcel:.1} ms, a commit takes \
                 {commit:.1}, and of {cores} cores {all:.1} are busy"
            )
        }
        (_, Some(commit), _) => {
            format!(
                "the store: a commit takes {commit:.1} ms, and of {cores} cores {all:.1} are busy"
            )
        }
        _ => format!("none of the cores: {all:.1} of {cores} busy"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proc::Processors;
    use crate::run::measured::ThreadUse;

    /// A run in which so many of those due were acknowledged in a second, and p99 is 5 ms.
    fn kept(messages: u64, due: u64) -> Measured {
        let mut run = Measured { messages, due, window_ns: 1_000_000_000, ..Measured::default() };
        let spans = run.spans.entry("delivered".to_owned()).or_default();
        spans.0.record(5_000_000).unwrap();
        run.server.rss_end = 1;
        run
    }

    /// Whose mean is below 1, as that of `mixed`, or that came out low by chance.
    #[test]
    fn what_was_due_is_what_counts_and_not_the_nominal_rate() {
        let mut run = kept(760, 762);
        assert!(judge(1_000.0, &run, 10.0).holds());
        run.messages = 700;
        assert!(!judge(1_000.0, &run, 10.0).holds());
        // One of a few is under way at the end.
        assert!(judge(16.0, &kept(15, 16), 10.0).holds());
        assert!(!judge(16.0, &kept(14, 16), 10.0).holds());
    }

    #[test]
    fn a_rate_that_does_not_hold_has_its_reasons() {
        let of = |run: &Measured, at_most_ms| judge(1_000.0, run, at_most_ms).misses.join("; ");
        let mut run = kept(1_000, 1_000);
        assert_eq!(of(&run, 10.0), "");
        assert_eq!(of(&run, 4.0), "p99 5.0 ms, above 4");
        assert_eq!(of(&kept(1_000, 1_100), 10.0), "acked 1000 of 1100 due");
        run.balance.unanswered = 3;
        run.errors.push("connection 7: reset".to_owned());
        let owed = "3 messages were neither acknowledged nor refused; connection 7: reset";
        assert_eq!(of(&run, 10.0), owed);
        run.spans.clear();
        assert!(of(&run, 10.0).starts_with("nothing was delivered"));
    }

    #[test]
    fn what_is_lost_is_broken_and_what_is_late_is_not() {
        let mut run = kept(900, 1_000);
        run.balance.unanswered = 100;
        assert!(judge(1_000.0, &run, 10.0).broken.is_none());
        run.balance.lost = 1;
        let tried = judge(1_000.0, &run, 10.0);
        assert!(tried.broken.unwrap().contains("lost 1") && !tried.misses.is_empty());
    }

    #[test]
    fn cores_that_others_fill_are_busy_too() {
        let cores = std::thread::available_parallelism().unwrap().get() as u64;
        let mut run = kept(1_000, 1_100);
        run.server.metrics.insert("server: commit, mean".to_owned(), 40.0);
        let all = |busy_ns, stolen_ns| {
            Some(Processors { count: cores as u32, busy_ns, stolen_ns, iowait_ns: 0 })
        };
        for (busy, stolen) in [(cores * 900_000_000, 0), (cores * 500_000_000, cores * 400_000_000)]
        {
            run.processors = all(busy, stolen);
            let bounds = judge(1_100.0, &run, 10.0).bounds;
            assert!(bounds.starts_with("all") && bounds.contains("cores"), "{bounds}");
        }
        run.processors = all(cores * 100_000_000, 0);
        assert!(judge(1_100.0, &run, 10.0).bounds.starts_with("the store"));
    }

    #[test]
    fn of_disk_store_and_broker_the_slowest_is_named() {
        let mut run = kept(1_000, 1_100);
        let mut named = |what: &str, ms: f64| {
            run.server.metrics.insert(format!("server: {what}, mean"), ms);
            judge(1_100.0, &run, 10.0).bounds
        };
        assert!(named("commit", 40.0).starts_with("the store: a commit takes 40.0 ms"));
        assert!(named("parcel", 30.0).starts_with("the store"));
        assert!(
            named("parcel", 50.0).starts_with("the broker: it answers for a parcel after 50.0")
        );
        assert!(named("fsync", 30.0).starts_with("the disk"));
    }

    #[test]
    fn one_busy_thread_bounds_and_several_half_busy_ones_of_a_name_do_not() {
        let mut run = kept(1_000, 1_100);
        let busiest = |cpu_ns| Some(ThreadUse { name: "worker".to_owned(), cpu_ns });
        run.server.threads_ns.insert("worker".to_owned(), 1_000_000_000);
        run.server.busiest_thread = busiest(500_000_000);
        assert!(!judge(1_100.0, &run, 10.0).bounds.contains("worker"));
        run.server.busiest_thread = busiest(900_000_000);
        assert!(judge(1_100.0, &run, 10.0).bounds.contains("worker: 90 %"));
    }
}
