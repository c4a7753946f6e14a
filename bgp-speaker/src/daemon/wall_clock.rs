//! The time of day, for those who read. Nothing is decided by it.

use std::time::{Duration, SystemTime};
use time::OffsetDateTime;

/// Now.
#[allow(clippy::disallowed_methods, reason = "one of the places for it")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// In UTC, to the millisecond (RFC 3339).
pub(crate) fn text(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
        at.millisecond()
    )
}

/// So long ago.
pub(crate) fn before(at: SystemTime, age: Duration) -> SystemTime {
    at.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_rfc_3339_says() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_772_323_205_007);
        assert_eq!(text(at), "2026-03-01T00:00:05.007Z");
        assert_eq!(text(before(at, Duration::from_secs(5))), "2026-03-01T00:00:00.007Z");
    }
}
