//! Waiting on conditions, never on fixed sleeps.

use std::thread;
use std::time::{Duration, Instant};

use crate::error::LabError;

/// Polls until `probe` succeeds, with pauses of 10 to 50 ms.
///
/// `probe` returns `Ok` when the condition holds, and otherwise `Err` with what it saw, which is what the failure
/// message shows. The last look happens after the deadline, so that a slow probe cannot hide a late success.
///
/// # Errors
/// [`LabError::Timeout`] with `what` and the last thing seen.
pub fn wait_until<T, S: ToString>(
    what: &str,
    timeout: Duration,
    mut probe: impl FnMut() -> Result<T, S>,
) -> Result<T, LabError> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(10);
    loop {
        let late = start.elapsed() >= timeout;
        match probe() {
            Ok(value) => return Ok(value),
            Err(seen) if late => {
                return Err(LabError::Timeout {
                    what: what.to_owned(),
                    after: start.elapsed(),
                    last_seen: seen.to_string(),
                });
            }
            Err(_) => {
                thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(50));
            }
        }
    }
}

/// Checks that a condition keeps holding for the whole of `period`, with a look every 50 ms.
///
/// # Errors
/// [`LabError::Unexpected`] with what was seen, as soon as it does not hold.
pub fn holds_for<S: ToString>(
    what: &str,
    period: Duration,
    mut probe: impl FnMut() -> Result<(), S>,
) -> Result<(), LabError> {
    let start = Instant::now();
    loop {
        probe().map_err(|seen| LabError::Unexpected {
            what: format!("{what}, after {:.1} s", start.elapsed().as_secs_f64()),
            expected: format!("the same for {:.1} s", period.as_secs_f64()),
            seen: seen.to_string(),
        })?;
        if start.elapsed() >= period {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Seconds, for readable time limits in tests.
#[must_use]
pub const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_becomes_true_ends_the_wait() {
        let mut looks = 0;
        let looked = wait_until("three looks", secs(5), || {
            looks += 1;
            if looks == 3 { Ok(looks) } else { Err("too early") }
        });
        assert_eq!(looked.unwrap(), 3);
    }

    #[test]
    fn a_timeout_tells_what_was_last_seen() {
        let failure = wait_until("rain", Duration::ZERO, || Err::<(), _>("sunshine")).unwrap_err();
        let text = failure.to_string();
        assert!(text.contains("rain") && text.contains("sunshine"), "{text}");
    }
}
