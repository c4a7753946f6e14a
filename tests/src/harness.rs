//! What wraps a lab test: skips are visible and counted, failures show where to look.

use std::fs::{self, OpenOptions};
use std::io::Write;

use crate::error::LabError;
use crate::lab::Lab;
use crate::process::log_tail;

/// Runs one test in a lab of its own.
///
/// A [`LabError::Missing`] makes the test skipped: it says so, adds a line to the file in `$BGP_LAB_SKIPS`, and, where
/// `BGP_LAB_REQUIRE=1` is set, fails. Any other error fails the test, with the end of every log of the lab.
///
/// # Panics
/// If the test fails.
pub fn lab_test(name: &str, story: impl FnOnce(&Lab) -> Result<(), LabError>) {
    let lab = match Lab::new(&name.replace("::", "-")) {
        Ok(lab) => lab,
        Err(error) => return skip_or_fail(name, &error),
    };
    match story(&lab) {
        Ok(()) => {}
        Err(error @ LabError::Missing { .. }) => skip_or_fail(name, &error),
        Err(error) => {
            print_logs(&lab);
            panic!("{name}: {error}");
        }
    }
}

/// Reports a test as skipped because of `error`, or fails where nothing may be missing.
///
/// # Panics
/// If the error is not about something missing, or if `BGP_LAB_REQUIRE=1`.
pub fn skip_or_fail(name: &str, error: &LabError) {
    let is_required = std::env::var_os("BGP_LAB_REQUIRE").is_some_and(|value| value == "1");
    assert!(matches!(error, LabError::Missing { .. }) && !is_required, "{name}: {error}");
    println!("SKIPPED {name}: {error}");
    if let Some(path) = std::env::var_os("BGP_LAB_SKIPS")
        && let Ok(mut file) = OpenOptions::new().create(true).append(true).open(path)
    {
        let _ = writeln!(file, "{name}: {error}");
    }
}

/// Prints the end of every log in the lab's folder.
fn print_logs(lab: &Lab) {
    let folders = fs::read_dir(lab.folder()).into_iter().flatten().flatten();
    let files = folders.flat_map(|folder| fs::read_dir(folder.path()).into_iter().flatten().flatten());
    let mut logs: Vec<_> = files.map(|file| file.path()).collect();
    logs.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    logs.sort();
    for log in logs {
        eprintln!("--- the end of {}\n{}", log.display(), log_tail(&log, 15));
    }
}
