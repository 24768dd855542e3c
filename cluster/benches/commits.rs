//! How long the embedded store takes to make a group of commits durable, with and without a sync.
//!
//! One caller hands over so many commits at once and waits for all of them, as sessions do that
//! send at the same moment; the commit loop runs on a thread of its own, as in the server. With a
//! sync it is the disk that is measured.

#[path = "../examples/figures/mod.rs"]
mod figures;

use std::thread;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::join_all;
use rally_cluster::store::Store as _;
use rally_cluster::store::embedded::{Durability, EmbeddedStore, Options};

fn commits(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    for (name, durability) in [("sync", Durability::Sync), ("os", Durability::Os)] {
        let mut group = criterion.benchmark_group(format!("commit/{name}"));
        let folder = tempfile::tempdir().expect("a folder");
        let options = Options { durability, group_interval_us: 0, ..Options::default() };
        let (store, commit_loop) = EmbeddedStore::open(folder.path(), options).expect("opened");
        let written = thread::spawn(move || commit_loop.run());
        let mut nth = 0;
        for size in [1, 16, 256] {
            group.throughput(Throughput::Elements(size));
            group.bench_function(BenchmarkId::from_parameter(size), |bench| {
                bench.iter(|| {
                    let waits =
                        (nth..nth + size).map(|nth| store.commit(vec![figures::among_200(nth)]));
                    let stored = runtime.block_on(join_all(waits));
                    stored.into_iter().for_each(|stored| stored.expect("stored"));
                    nth += size;
                });
            });
        }
        group.finish();
        store.close();
        written.join().expect("joined").expect("written");
    }
}

criterion_group!(benches, commits);
criterion_main!(benches);
