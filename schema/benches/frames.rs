//! How long a frame of the message path takes to read and to write.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use rally_schema::ServerFrame;
use rally_schema::frame::ClientFrame;

const SEND: &str = r#"{"type":"send","ref":"3f1e2d4c-5b6a-4789-8abc-def012345678","conversation":"f99960b4-8fd2-5d28-b9e0-d969c7bc8dc6","to":"ben","at":1790000000123,"n":0,"text":"A hundred bytes of text, which is about what people write to each other on a phone when they talk."}"#;

const ACK: &str = r#"{"type":"ack","ref":"3f1e2d4c-5b6a-4789-8abc-def012345678","conversation":"f99960b4-8fd2-5d28-b9e0-d969c7bc8dc6","id":"01a0c4a8-3c7b-7000-9d3b-7f0a2b6c1d2e"}"#;

const MESSAGE: &str = r#"{"type":"message","id":"01a0c4a8-3c7b-7000-9d3b-7f0a2b6c1d2e","conversation":"f99960b4-8fd2-5d28-b9e0-d969c7bc8dc6","sender":"ana","to":"ben","ref":"3f1e2d4c-5b6a-4789-8abc-def012345678","text":"A hundred bytes of text, which is about what people write to each other on a phone when they talk."}"#;

fn frames(criterion: &mut Criterion) {
    criterion.bench_function("decode/send", |bench| {
        bench.iter(|| ClientFrame::decode(black_box(SEND)).expect("a frame"));
    });
    for (name, text) in [("ack", ACK), ("message", MESSAGE)] {
        let frame = ServerFrame::decode(text).expect("a frame");
        criterion.bench_function(&format!("encode/{name}"), |bench| {
            bench.iter(|| black_box(&frame).encode());
        });
    }
}

criterion_group!(benches, frames);
criterion_main!(benches);
