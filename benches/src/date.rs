//! Moments of the calendar, for reports: UTC, by this machine's clock.

use std::time::{SystemTime, UNIX_EPOCH};

use time::UtcDateTime;
use time::format_description::well_known::Rfc3339;

/// Gives milliseconds since the beginning of 1970.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

/// Writes such a moment as RFC 3339 does, to the second; one beyond the year 9999 as the number it is.
pub fn rfc3339(unix_ms: u64) -> String {
    let unix_s = unix_ms / 1_000;
    let at = i64::try_from(unix_s).ok().and_then(|at| UtcDateTime::from_unix_timestamp(at).ok());
    at.and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_else(|| format!("{unix_s} s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_the_calendar_has_them() {
        for (unix_s, written) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_799, "2000-02-29T23:59:59Z"),
            (1_709_251_200, "2024-03-01T00:00:00Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(unix_s * 1_000 + 999), written);
        }
        assert_eq!(rfc3339(u64::MAX), "18446744073709551 s");
    }
}
