//! How often one user, or one address, may do something.
//!
//! The arithmetic is governor's; here are its clock (the node's own) and its memory, which
//! is bounded: of more keys than it holds it forgets the one that was idle longest, so a
//! flood of addresses costs nobody but those that are idle. Knows nothing of HTTP.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed, StateStore};
use governor::{Quota, RateLimiter};
use lru::LruCache;
use parking_lot::Mutex;
use rally_cluster::clock::Clock;
use rally_schema::UserId;

use crate::config;

/// Seconds after which asking again can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// At least one.
    pub seconds: u64,
}

/// The node's clock, as governor wants it.
#[derive(Clone)]
struct Ticks(Clock);

impl governor::clock::Clock for Ticks {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_micros(self.0.monotonic_us())
    }
}

/// What was taken, by key; the keys idle longest are forgotten first.
struct Recent<K: Hash + Eq>(Mutex<LruCache<K, InMemoryState>>);

impl<K: Hash + Eq + Clone> StateStore for Recent<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut recent = self.0.lock();
        recent
            .get_or_insert(key.clone(), InMemoryState::default)
            .measure_and_replace(&NotKeyed::NonKey, f)
    }
}

/// A rate for each key.
pub struct Limiter<K: Hash + Eq + Clone> {
    limiter: RateLimiter<K, Recent<K>, Ticks, NoOpMiddleware<Duration>>,
    clock: Ticks,
}

impl<K: Hash + Eq + Clone> Limiter<K> {
    fn new(quota: Quota, keys: usize, clock: &Clock) -> Self {
        let keys = NonZeroUsize::new(keys).unwrap_or(NonZeroUsize::MIN);
        let clock = Ticks(clock.clone());
        let recent = Recent(Mutex::new(LruCache::new(keys)));
        Self { limiter: RateLimiter::new(quota, recent, clock.clone()), clock }
    }

    /// Takes one, or says when there will be one.
    pub fn take(&self, key: &K) -> Result<(), Wait> {
        use governor::clock::Clock as _;
        self.limiter.check_key(key).map_err(|refused| Wait {
            seconds: refused.wait_time_from(self.clock.now()).as_millis().div_ceil(1000).max(1)
                as u64,
        })
    }
}

fn at_least_one(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN)
}

fn per_second(average: u32, burst: u32) -> Quota {
    Quota::per_second(at_least_one(average)).allow_burst(at_least_one(burst))
}

/// So many a minute, and as many at once.
fn per_minute(n: u32) -> Quota {
    Quota::per_minute(at_least_one(n))
}

/// An address as far as one subscriber has it: IPv4 whole, the first 64 bits of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Subscriber(IpAddr);

impl From<IpAddr> for Subscriber {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !0 << 64)),
            v4 => v4,
        })
    }
}

/// How many times as often as from one address somebody may try to log in as one user from all.
const ANYWHERE: u32 = 20;

/// All rates that the HTTP side holds to.
pub struct HttpLimits {
    /// Requests to the API by address, before anything else is done for them.
    pub requests_address: Limiter<Subscriber>,
    /// Requests for anything else by address: pages, WebSockets, probes.
    pub others_address: Limiter<Subscriber>,
    /// Requests by user, once it is known who asks.
    pub requests_user: Limiter<UserId>,
    /// Attempts to log in by address.
    pub logins_address: Limiter<Subscriber>,
    /// Attempts to log in by the user who is claimed to, from one address: a stranger elsewhere takes
    /// none of those that the user himself has.
    pub logins_user: Limiter<(UserId, Subscriber)>,
    /// Attempts to log in by the user who is claimed to, from wherever.
    pub logins_user_anywhere: Limiter<UserId>,
    /// Attempts to register by address.
    pub registers_address: Limiter<Subscriber>,
}

impl HttpLimits {
    /// Makes the limits that the settings ask for.
    pub fn new(settings: &config::Limits, clock: &Clock) -> Self {
        let keys = settings.rate_keys;
        let by_address = || {
            let (average, burst) =
                (settings.rate_requests_per_second_address, settings.rate_requests_burst_address);
            Limiter::new(per_second(average, burst), keys, clock)
        };
        Self {
            requests_address: by_address(),
            others_address: by_address(),
            requests_user: Limiter::new(
                per_second(
                    settings.rate_requests_per_second_user,
                    settings.rate_requests_burst_user,
                ),
                keys,
                clock,
            ),
            logins_address: Limiter::new(
                per_minute(settings.rate_logins_per_minute_address),
                keys,
                clock,
            ),
            logins_user: Limiter::new(
                per_minute(settings.rate_logins_per_minute_user),
                keys,
                clock,
            ),
            logins_user_anywhere: Limiter::new(
                per_minute(settings.rate_logins_per_minute_user.saturating_mul(ANYWHERE)),
                keys,
                clock,
            ),
            registers_address: Limiter::new(
                per_minute(settings.rate_registers_per_minute_address),
                keys,
                clock,
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Hands;

    #[test]
    fn a_burst_is_allowed_and_then_the_average_holds() {
        let hands = Hands::at(1_000_000);
        let limiter = Limiter::new(per_second(10, 5), 100, &hands.clock());
        assert_eq!((0..9).filter(|_| limiter.take(&"ana").is_ok()).count(), 5);
        assert_eq!(limiter.take(&"ana"), Err(Wait { seconds: 1 }));
        assert!(limiter.take(&"ben").is_ok(), "each key for itself");
        let allowed = (0..20_000).filter(|_| {
            hands.pass(1);
            limiter.take(&"ana").is_ok()
        });
        let allowed = allowed.count();
        assert!((199..=201).contains(&allowed), "{allowed} in 20 s at 10 a second");
    }

    #[test]
    fn a_minute_s_worth_comes_back_over_a_minute() {
        let hands = Hands::at(1_000_000);
        let limiter = Limiter::new(per_minute(6), 100, &hands.clock());
        assert_eq!((0..9).filter(|_| limiter.take(&1).is_ok()).count(), 6);
        assert_eq!(limiter.take(&1), Err(Wait { seconds: 10 }));
        hands.pass(10_000);
        assert!(limiter.take(&1).is_ok());
        assert!(limiter.take(&1).is_err());
    }

    #[test]
    fn the_memory_is_bounded_and_forgets_the_idle_first() {
        let hands = Hands::at(1_000_000);
        let limiter = Limiter::new(per_second(1, 1), 16, &hands.clock());
        assert!(limiter.take(&0).is_ok());
        for stranger in 1..1_000 {
            assert!(limiter.take(&stranger).is_ok());
            assert!(limiter.take(&0).is_err(), "who keeps asking is not forgotten");
        }
        assert_eq!(limiter.limiter.into_state_store().0.lock().len(), 16);
    }

    #[test]
    fn a_subscriber_does_not_escape_within_his_prefix() {
        let of = |text: &str| Subscriber::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }
}
