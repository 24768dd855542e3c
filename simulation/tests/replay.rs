//! A seed is all that a run depends on.

use rally_simulation::run::{Size, run};

#[test]
fn a_seed_replays_exactly() {
    for seed in [1, 2, 3, 17, 99] {
        let (first, second) =
            (run(seed, Size::default(), false), run(seed, Size::default(), false));
        assert_eq!(first.kinds, second.kinds, "seed {seed}");
        assert_eq!(first.faults, second.faults, "seed {seed}");
        assert!(first.history == second.history, "seed {seed} gave two histories");
    }
}

#[test]
fn two_seeds_differ() {
    let (one, other) = (run(1, Size::default(), false), run(2, Size::default(), false));
    assert!(one.history != other.history);
}

#[test]
fn a_seed_is_as_large_as_is_said() {
    for seed in [1, 2, 3] {
        let outcome = run(seed, Size::default(), false);
        let Size { nodes, users, .. } = Size::default();
        let mut kinds = outcome.kinds.clone();
        kinds.sort();
        kinds.dedup();
        let mut devices: Vec<_> =
            outcome.history.entries.iter().map(|entry| entry.device).collect();
        devices.sort();
        devices.dedup();
        assert!(nodes >= 3 && users >= 6 && devices.len() >= 2 * users, "seed {seed}");
        assert!(outcome.operations >= 200 && kinds.len() >= 3, "seed {seed}");
    }
}
