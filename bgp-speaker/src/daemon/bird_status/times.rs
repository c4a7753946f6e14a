//! Times as BIRD writes them, in UTC.

use std::time::{Duration, SystemTime};
use time::OffsetDateTime;

/// What is further away is told by its date.
const TIME_OF_DAY_FOR: Duration = Duration::from_secs(20 * 3600);

/// Date and time.
pub(super) fn long(at: SystemTime) -> String {
    format!("{} {}", date(at), time_of_day(at))
}

/// The time of day, or the date of what is longer ago.
pub(super) fn short(at: SystemTime, now: SystemTime) -> String {
    let is_recent = now.duration_since(at).is_ok_and(|age| age < TIME_OF_DAY_FOR);
    if is_recent { time_of_day(at) } else { date(at) }
}

fn date(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    format!("{:04}-{:02}-{:02}", at.year(), u8::from(at.month()), at.day())
}

fn time_of_day(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    format!("{:02}:{:02}:{:02}", at.hour(), at.minute(), at.second())
}
