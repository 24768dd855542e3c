//! When something was sent, and the UUIDv7 that begins with it.

use uuid::Uuid;

/// The largest `n` of a stamp: 12 bits.
pub const MAX_N: u16 = 0x0fff;

/// The largest millisecond count an id holds: 48 bits.
pub const MAX_MS: u64 = (1 << 48) - 1;

/// When a client says that something was sent: milliseconds of the server's time, and a count
/// that keeps apart (and in order) what falls into one millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// Milliseconds since 1970, at most [`MAX_MS`].
    pub at: u64,
    /// 0 to [`MAX_N`].
    pub n: u16,
}

/// Builds a UUIDv7 from its parts; the low two bits of `low`'s top byte give way to the variant.
pub(super) fn uuid_v7(stamp: Stamp, low: u64) -> Uuid {
    let high = (stamp.at & MAX_MS) << 16 | 0x7000 | u64::from(stamp.n & MAX_N);
    let low = low & LOW_MASK | 1 << 63;
    Uuid::from_u64_pair(high, low)
}

/// The 62 bits below a UUID's variant.
pub(super) const LOW_MASK: u64 = (1 << 62) - 1;
