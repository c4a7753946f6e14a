//! A network namespace per test: made by the test's own thread, gone with it.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::future::Future;
use std::process::Command;
use std::time::Duration;

use fib_sync::{Fib, FibConfig, FibEvent, FibEvents, FibStatus, InstalledRoute};

/// How long a condition may take; only ever reached by a failing test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Runs `test` on a thread in a fresh network namespace with `lo` and a veth pair: `a0` (10.0.0.1/24, fd00::1/64) and
/// `a1`, both up. Where that is not possible the test says so and is skipped, or fails if `BGP_LAB_REQUIRE=1`.
pub(crate) fn in_namespace<F, T>(test: T)
where
    F: Future<Output = ()>,
    T: FnOnce() -> F + Send + 'static,
{
    let result = std::thread::spawn(move || {
        if let Err(reason) = enter_namespace() {
            return skip(&reason);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test());
    })
    .join();
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

fn skip(reason: &str) {
    if std::env::var("BGP_LAB_REQUIRE").is_ok_and(|value| value == "1") {
        panic!("cannot run, and BGP_LAB_REQUIRE=1 forbids skipping: {reason}");
    }
    println!("SKIPPED: {reason}");
    eprintln!("SKIPPED: {reason}");
}

#[allow(unsafe_code)]
fn enter_namespace() -> Result<(), String> {
    // SAFETY: takes a flag word and no pointers; it affects the calling thread only, which is the test's own.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        let error = std::io::Error::last_os_error();
        return Err(format!("a network namespace cannot be made: {error}; run as root"));
    }
    try_ip("link set lo up").map_err(|error| format!("`ip` of iproute2 is needed: {error}"))?;
    ip("link add a0 type veth peer name a1");
    ip("link set a0 up");
    ip("link set a1 up");
    ip("address add 10.0.0.1/24 dev a0");
    ip("address add fd00::1/64 dev a0 nodad");
    Ok(())
}

fn try_ip(arguments: &str) -> Result<String, String> {
    let output =
        Command::new("ip").args(arguments.split_whitespace()).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Runs `ip` in the thread's namespace and returns what it printed.
pub(crate) fn ip(arguments: &str) -> String {
    try_ip(arguments).unwrap()
}

/// Runs `ip -batch` with these lines.
pub(crate) fn ip_batch(lines: impl IntoIterator<Item = String>) {
    use std::io::Write;
    let mut child =
        Command::new("ip").args(["-batch", "-"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
    let text: String = lines.into_iter().map(|line| line + "\n").collect();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// What `ip route show` prints for a prefix, in one line per route.
pub(crate) fn show(prefix: &str) -> String {
    let family = if prefix.contains(':') { "-6" } else { "-4" };
    ip(&format!("{family} route show {prefix} table all")).trim().to_owned()
}

/// A configuration that repeats refused routes quickly and audits never, so that tests see what events alone do.
pub(crate) fn config() -> FibConfig {
    FibConfig { audit_interval: None, ..FibConfig::default() }
}

/// When to look again while waiting for something.
pub(crate) fn looks() -> tokio::time::Interval {
    tokio::time::interval(Duration::from_millis(1))
}

/// Waits until the status fulfils a condition.
pub(crate) async fn until(fib: &Fib, what: &str, condition: impl Fn(&FibStatus) -> bool) -> FibStatus {
    let wait = async {
        let mut look = looks();
        loop {
            let status = fib.status();
            if condition(&status) {
                return status;
            }
            look.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .unwrap_or_else(|_| panic!("never so: {what}; {:#?}", fib.status()))
}

/// Waits for an event that fulfils a condition.
pub(crate) async fn event(
    events: &mut FibEvents,
    what: &str,
    condition: impl Fn(&FibEvent) -> bool,
) -> FibEvent {
    let wait = async {
        while let Some(event) = events.recv().await {
            if condition(&event) {
                return event;
            }
        }
        panic!("no more events while waiting for: {what}");
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never happened: {what}"))
}

/// The installed routes, sorted by prefix.
pub(crate) async fn installed(fib: &Fib) -> Vec<InstalledRoute> {
    let mut routes = fib.installed().await.unwrap();
    routes.sort_by_key(|route| route.prefix);
    routes
}
