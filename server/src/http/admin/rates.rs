//! How much a node does a second, and how far it is behind.
//!
//! Counters only grow; a rate is what they grew by since an earlier look. Looks are kept for a
//! minute, so that whoever looks often sees the last minute, and whoever looks seldom what
//! happened since he did.

use std::collections::VecDeque;

use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::problem::Problem;
use super::super::state::HttpState;
use super::reading::{Histogram, Reading};

/// Over how long rates are told, for those who look often.
const MINUTE_MS: u64 = 60_000;

/// Looks that come sooner after the last one are not kept.
const APART_MS: u64 = 1_000;

/// What this node does.
#[derive(Debug, Serialize, ToSchema)]
pub struct Rates {
    /// Seconds that the rates are about: up to a minute, or since the last look.
    over_s: f64,
    /// Messages acknowledged.
    messages_per_second: f64,
    /// Frames received.
    frames_per_second: f64,
    /// Pushes handed to sessions.
    pushes_per_second: f64,
    /// From a commit's begin to its end.
    commit: Lag,
    /// From receiving a send to queueing it for a receiver's socket on the same node.
    delivery: Lag,
}

/// How long something took.
#[derive(Debug, Serialize, ToSchema)]
pub struct Lag {
    /// How often.
    count: u64,
    /// The mean.
    mean_s: Option<f64>,
    /// A bound below which 99 of 100 lie.
    p99_s: Option<f64>,
}

/// What the counters said at one moment.
#[derive(Debug, Clone, Default)]
pub struct Look {
    at_ms: u64,
    messages: f64,
    frames: f64,
    pushes: f64,
    commit: Histogram,
    delivery: Histogram,
}

/// The looks of the last minute, or the last one.
#[derive(Debug)]
pub struct Looks(VecDeque<Look>);

impl Looks {
    /// Begins with a node that has just started, whose counters are zero.
    pub fn since_start(now_ms: u64) -> Self {
        Self(VecDeque::from([Look { at_ms: now_ms, ..Look::default() }]))
    }

    /// Gives the earlier look that this one is compared with, and keeps this one for later.
    fn compare(&mut self, now: &Look) -> Look {
        let age_ms = |look: &Look| now.at_ms.saturating_sub(look.at_ms);
        while self.0.len() > 1 && self.0.front().is_some_and(|look| age_ms(look) > MINUTE_MS) {
            self.0.pop_front();
        }
        let earlier = self.0.front().cloned().unwrap_or_default();
        if self.0.back().is_none_or(|last| age_ms(last) >= APART_MS) {
            self.0.push_back(now.clone());
        }
        earlier
    }
}

/// Says how much this node does a second, and how far it is behind.
#[utoipa::path(get, path = "/admin/rates", tag = "admin", security(("admin" = [])),
    responses((status = 200, description = "Rates and lags", body = Rates)))]
pub async fn rates(state: web::Data<HttpState>) -> Result<HttpResponse, Problem> {
    let reading = Reading::of(&state.registry)?;
    let now = Look {
        at_ms: state.clock.monotonic_ms(),
        messages: reading.sum("rally_messages_total"),
        frames: reading.sum("rally_frames_received_total"),
        pushes: reading.sum("rally_pushes_total"),
        commit: reading.seconds("rally_commit_seconds"),
        delivery: reading.seconds("rally_delivery_seconds"),
    };
    let earlier = state.looks.lock().compare(&now);
    Ok(HttpResponse::Ok().json(Rates::between(&earlier, &now)))
}

impl Rates {
    fn between(earlier: &Look, now: &Look) -> Self {
        let over_s = now.at_ms.saturating_sub(earlier.at_ms).max(1) as f64 / 1e3;
        Self {
            over_s,
            messages_per_second: (now.messages - earlier.messages) / over_s,
            frames_per_second: (now.frames - earlier.frames) / over_s,
            pushes_per_second: (now.pushes - earlier.pushes) / over_s,
            commit: Lag::of(&now.commit.since(&earlier.commit)),
            delivery: Lag::of(&now.delivery.since(&earlier.delivery)),
        }
    }
}

impl Lag {
    fn of(took: &Histogram) -> Self {
        Self { count: took.count(), mean_s: took.mean(), p99_s: took.below(0.99) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at these seconds at a node that acknowledges ten messages a second, and one at once
    /// at the start; gives over how many seconds each look tells.
    fn over(seconds: &[u64]) -> Vec<f64> {
        let mut looks = Looks::since_start(0);
        let look = |second: &u64| {
            let messages = (second * 10) as f64;
            let now = Look { at_ms: second * 1_000, messages, ..Look::default() };
            let rates = Rates::between(&looks.compare(&now), &now);
            assert!((rates.messages_per_second - 10.0).abs() < 1e-9, "{rates:?}");
            rates.over_s
        };
        seconds.iter().map(look).collect()
    }

    #[test]
    fn whoever_looks_often_sees_the_last_minute() {
        let each: Vec<u64> = (1..=200).collect();
        let over = over(&each);
        assert_eq!((over[0], over[59], over[60], over[199]), (1.0, 60.0, 60.0, 60.0));
    }

    #[test]
    fn whoever_looks_seldom_sees_what_happened_since() {
        assert_eq!(over(&[600, 1_000, 4_000]), [600.0, 400.0, 3_000.0]);
    }
}
