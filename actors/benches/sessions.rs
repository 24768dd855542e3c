//! How long each piece of the message path takes: frames, fan-out, commits without a sync, a
//! catch-up, and a message from socket to socket.
//!
//! The same pieces whose instructions are counted (`instructions.rs`). A time depends on the
//! machine and on what else it does; a count does not.

mod one_thread;

use criterion::{Criterion, criterion_group, criterion_main};
use one_thread::pieces::PIECES;

fn sessions(criterion: &mut Criterion) {
    for piece in PIECES {
        // Prepared only if it is wanted.
        criterion.bench_function(piece.name, |bench| {
            bench.iter((piece.prepare)());
        });
    }
}

criterion_group!(benches, sessions);
criterion_main!(benches);
