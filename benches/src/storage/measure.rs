//! Fills a model, asks it each question many times, and believes no answer that is not right.
//!
//! Knows nothing of what is behind a model.

use std::cell::Cell;
use std::fmt::Debug;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;

use super::model::{Model, Reads, Rows, is_refusal};
use super::world::{Said, World};
use crate::report::histogram;
use crate::stop::Stop;

/// Messages that are being written at once.
const IN_FLIGHT: usize = 64;

/// How often a write or a count that failed is made again, and how long after: a database that is
/// busy with its own files refuses now and then, and every write here may be repeated.
const AGAIN: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
];

/// How often a question is asked even when it takes long.
const LEAST: u32 = 3;

/// How often a question may go unanswered. What is too much for a database on a busy machine is told
/// with the figures; beyond, there are none.
const UNANSWERED: u32 = 10;

/// How it is measured.
pub struct Measuring<'a> {
    /// How often each question is asked.
    pub repeats: u32,
    /// How long one question may be asked again and again.
    pub patience: Duration,
    /// Whether to stop.
    pub stop: &'a Stop,
}

/// How long answers took, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Times {
    /// Half of them at most.
    pub p50_ms: f64,
    /// 95 of 100 at most.
    pub p95_ms: f64,
    /// How many there were.
    pub repeats: u32,
    /// How often the database gave up instead of answering; not among the times.
    pub unanswered: u32,
}

/// What one way to keep and read messages showed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// Which.
    pub model: &'static str,
    /// Rows by table.
    pub rows: Rows,
    /// Bytes of the tables' files; nothing when nobody said where they are.
    pub bytes: Option<u64>,
    /// Statements that write, a message.
    pub writes: f64,
    /// The ten latest conversations.
    pub inbox: Times,
    /// An older page.
    pub older: Times,
    /// What is new.
    pub catch_up: Times,
}

/// Fills a model and asks it everything; gives a line for each way to read it, and a remark.
pub async fn measure(
    model: &mut dyn Model,
    world: &World,
    measuring: &Measuring<'_>,
) -> Result<(Vec<Line>, Option<String>)> {
    let Measuring { stop, .. } = measuring;
    let statements = fill(model, world, stop).await?;
    let writes = statements as f64 / world.all().len() as f64;
    let bytes = model.settle(stop).await.context("waiting for the files")?;
    let rows = again(stop, async || model.rows(world).await).await.context("counting the rows")?;
    let mut lines = Vec::new();
    for way in model.ways() {
        let (inbox, older, catch_up) = measuring.ask_all(&*way, world).await?;
        let (model, rows) = (way.name(), rows.clone());
        lines.push(Line { model, rows, bytes, writes, inbox, older, catch_up });
    }
    let remark = model.remark(world).await?;
    Ok((lines, remark))
}

/// Writes every message, and says by how many statements.
async fn fill(model: &dyn Model, world: &World, stop: &Stop) -> Result<u64> {
    let writes = world.all().iter().map(|said| write(model, said, stop));
    let mut writes = stream::iter(writes).buffer_unordered(IN_FLIGHT);
    let mut statements = 0;
    while let Some(sent) = writes.try_next().await? {
        stop.check()?;
        statements += sent;
    }
    Ok(statements)
}

async fn write(model: &dyn Model, said: &Said, stop: &Stop) -> Result<u64> {
    let written = again(stop, async || model.write(said).await).await;
    written.with_context(|| format!("writing message {}", said.number))
}

/// Does again what failed, a few times.
async fn again<T>(stop: &Stop, what: impl AsyncFn() -> Result<T>) -> Result<T> {
    for pause in AGAIN {
        match what().await {
            Ok(done) => return Ok(done),
            Err(_) => tokio::time::sleep(pause).await,
        }
        stop.check()?;
    }
    what().await
}

impl Measuring<'_> {
    async fn ask_all(&self, way: &dyn Reads, world: &World) -> Result<(Times, Times, Times)> {
        let inbox = self.ask("inbox", way, &world.inbox(), async || way.inbox().await).await?;
        let (before, page) = world.older();
        let older = self.ask("older page", way, &page, async || way.older(before).await).await?;
        let news = async || {
            let mut news = way.catch_up().await?;
            news.sort_unstable();
            Ok(news)
        };
        let catch_up = self.ask("catch-up", way, &world.news(), news).await?;
        Ok((inbox, older, catch_up))
    }

    /// Asks one question again and again; the first answer warms up and does not count.
    async fn ask<T: PartialEq + Debug>(
        &self,
        what: &str,
        way: &dyn Reads,
        right: &T,
        question: impl AsyncFn() -> Result<T>,
    ) -> Result<Times> {
        let unanswered = Cell::new(0);
        let ask = async || -> Result<Duration> {
            loop {
                self.stop.check()?;
                let asked = Instant::now();
                let answer = question().await.with_context(|| format!("{}: {what}", way.name()));
                let took = asked.elapsed();
                match answer {
                    Err(error) if is_refusal(&error) && unanswered.get() < UNANSWERED => {
                        eprintln!("not answered: {error:#}");
                        unanswered.set(unanswered.get() + 1);
                    }
                    answer => {
                        let (name, answer) = (way.name(), answer?);
                        let is_right = answer == *right;
                        ensure!(is_right, "{name}: {what} is {answer:?}, written was {right:?}");
                        return Ok(took);
                    }
                }
            }
        };
        ask().await?;
        let (mut spans, mut spent, mut repeats) = (histogram(), Duration::ZERO, 0);
        while repeats < self.repeats && (repeats < LEAST || spent < self.patience) {
            let took = ask().await?;
            spans.saturating_record(took.as_nanos() as u64);
            spent += took;
            repeats += 1;
        }
        let ms = |quantile| spans.value_at_quantile(quantile) as f64 / 1e6;
        let unanswered = unanswered.get();
        Ok(Times { p50_ms: ms(0.5), p95_ms: ms(0.95), repeats, unanswered })
    }
}

#[cfg(test)]
mod tests {
    use rally_cluster::store::StoreError;

    use super::super::model::{Later, Rows};
    use super::super::world::{Newest, Shape};
    use super::*;

    /// A model that is the world itself, but for one question.
    struct Mirror<'a> {
        world: &'a World,
        forgets_one: bool,
        /// How often it still gives up.
        gives_up: Cell<u32>,
    }

    impl Model for Mirror<'_> {
        fn write<'a>(&'a self, _: &'a Said) -> Later<'a, u64> {
            Box::pin(async { Ok(2) })
        }

        fn settle<'a>(&'a mut self, _: &'a Stop) -> Later<'a, Option<u64>> {
            Box::pin(async { Ok(Some(7)) })
        }

        fn rows<'a>(&'a self, _: &'a World) -> Later<'a, Rows> {
            Box::pin(async { Ok(Rows::from([("messages", 1)])) })
        }

        fn ways(&self) -> Vec<Box<dyn Reads + '_>> {
            vec![Box::new(self)]
        }
    }

    impl Reads for &Mirror<'_> {
        fn name(&self) -> &'static str {
            "mirror"
        }

        fn inbox(&self) -> Later<'_, Vec<Newest>> {
            Box::pin(async { Ok(self.world.inbox()) })
        }

        fn older(&self, _: Said) -> Later<'_, Vec<u32>> {
            Box::pin(async { Ok(self.world.older().1) })
        }

        fn catch_up(&self) -> Later<'_, Vec<u32>> {
            let mut news = self.world.news();
            news.reverse();
            if self.forgets_one {
                news.pop();
            }
            let left = self.gives_up.get();
            self.gives_up.set(left.saturating_sub(1));
            Box::pin(async move {
                if left > 0 {
                    return Err(StoreError::Read("too much".to_owned()).into());
                }
                Ok(news)
            })
        }
    }

    fn ask(forgets_one: bool, gives_up: u32) -> Result<Vec<Line>> {
        let (stop, gives_up) = (&Stop::default(), Cell::new(gives_up));
        let shape = Shape { conversations: 12, messages: 4, long: 100, news: 6, news_in: 2 };
        let world = World::of(shape);
        let measuring = Measuring { repeats: 5, patience: Duration::from_secs(60), stop };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut mirror = Mirror { world: &world, forgets_one, gives_up };
        Ok(runtime.block_on(measure(&mut mirror, &world, &measuring))?.0)
    }

    #[test]
    fn a_right_answer_is_a_figure_and_a_wrong_one_an_error_that_shows_it() {
        let lines = ask(false, 0).unwrap();
        assert_eq!((lines.len(), lines[0].bytes, lines[0].writes), (1, Some(7), 2.0));
        assert_eq!((lines[0].catch_up.repeats, lines[0].catch_up.unanswered), (5, 0));
        let error = format!("{:#}", ask(true, 0).unwrap_err());
        assert!(error.starts_with("mirror: catch-up is ["), "{error}");
    }

    #[test]
    fn a_database_that_gives_up_is_asked_again_and_that_is_told_up_to_a_bound() {
        let lines = ask(false, UNANSWERED).unwrap();
        assert_eq!((lines[0].catch_up.repeats, lines[0].catch_up.unanswered), (5, UNANSWERED));
        let error = format!("{:#}", ask(false, UNANSWERED + 1).unwrap_err());
        assert!(error.contains("mirror: catch-up: the store could not be read"), "{error}");
    }
}
