use super::*;
use crate::config::{Neighbor, StepAction};
use crate::speaker::Speaker;
use std::net::SocketAddr;

fn file(text: &str) -> FileConfig {
    let surroundings = Surroundings::of_this_host(Program::BgpSpeaker, PathBuf::new());
    FileConfig::parse(&format!("router_id = \"10.0.0.1\"\n{text}"), "bgp.toml", &surroundings).unwrap()
}

#[test]
fn a_reload_changes_pools_and_never_whose_routes_are_ours() {
    let in_force = file("[fib]\n[[fib.pools]]\nprefix = \"10.1.0.0/16\"\nprogram = false\n");
    let changed = file("[fib]\ntable = 7\n[[fib.pools]]\nprefix = \"10.1.0.0/16\"\n");
    let after = until_restart(&in_force, changed.clone());
    assert_eq!((after.fib, after.speaker), (in_force.fib, changed.speaker));
    let after = until_restart(&in_force, file("hold_time = 30\n"));
    assert_eq!((after.fib, after.speaker.hold_time_secs), (in_force.fib, 30));
    assert_eq!(after.speaker.fib_rules, in_force.speaker.fib_rules);
    let again = until_restart(&after, file("hold_time = 30\n"));
    assert_eq!(again.speaker.fib_rules, in_force.speaker.fib_rules);
    assert_eq!(until_restart(&file(""), in_force).fib, None, "this waits for a restart too");
}

/// A speaker on loopback that waits for the one at 127.0.0.1.
async fn waiting(last: u8) -> Speaker {
    let neighbor = Neighbor::ibgp([127, 0, 0, 1].into()).passive();
    let speaker = Speaker::builder().router_id([10, 0, 0, last].into()).listen(([127, 0, 0, last], 0).into());
    speaker.neighbor(neighbor).start().await.unwrap()
}

fn neighbor_at(address: SocketAddr) -> String {
    let (ip, port) = (address.ip(), address.port());
    format!(
        "router_id = \"10.0.0.1\"\nlisten = []\nhandover_time = 20\n[[neighbors]]\naddress = \"{ip}\"\nport = {port}\n"
    )
}

#[allow(clippy::disallowed_methods, reason = "tests wait for the world, within limits")]
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !is_so().await {
        assert!(begin.elapsed() < Duration::from_secs(30), "not within 30 s: {what}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_file_that_replaces_a_neighbour_keeps_it_until_the_other_one_is_there() {
    let (old, new) = (waiting(2).await, waiting(3).await);
    let path = std::env::temp_dir().join(format!("bgp-replace-{}.toml", std::process::id()));
    std::fs::write(&path, neighbor_at(old.listening()[0])).unwrap();
    let in_force = FileConfig::load(&path, Program::BgpSpeaker).unwrap();
    let base = in_force.speaker.clone();
    let speaker = Speaker::builder().config(base.clone()).start().await.unwrap();
    let handle = speaker.handle();
    let mut desired =
        Desired::new(Program::BgpSpeaker, Some(path.clone()), handle.clone(), in_force, None, base);
    let up = async || -> Vec<String> {
        let all = handle.neighbors().await.unwrap();
        all.into_iter().filter(|one| one.state == "Established").map(|one| one.address).collect()
    };
    until("the first neighbour", async || up().await == ["127.0.0.2"]).await;

    std::fs::write(&path, neighbor_at(new.listening()[0])).unwrap();
    let planned = desired.plan().await.unwrap();
    let actions = |steps: &[Step]| steps.iter().map(|step| step.action).collect::<Vec<_>>();
    assert_eq!(actions(&planned.steps), [StepAction::HoldSession, StepAction::AddSession]);
    assert_eq!(planned.handover.map(|view| view.at_most_secs), Some(20));
    assert_eq!(planned.after_restart, [""; 0]);
    let etcd = "[etcd]\nendpoints = [\"http://127.0.0.1:1\"]\n";
    let text = neighbor_at(old.listening()[0]) + etcd;
    assert_eq!(desired.plan_text("bgp.toml", &text).await.unwrap().after_restart, ["etcd"]);
    assert_eq!(actions(&desired.reload().await.unwrap().steps), actions(&planned.steps));
    let held = desired.handover().unwrap();
    assert_eq!((held.sessions.len(), &*held.sessions[0].neighbor), (1, &*old.listening()[0].to_string()));
    until("both neighbours", async || up().await == ["127.0.0.2", "127.0.0.3"]).await;
    until("the handover", async || !desired.advance().await.unwrap()).await;
    assert_eq!(up().await, ["127.0.0.3"]);
    assert_eq!(desired.handover(), None);
    assert_eq!(handle.config().await.unwrap(), FileConfig::load(&path, Program::BgpSpeaker).unwrap().speaker);

    // Back again, and this time it is switched off while it stays.
    std::fs::write(&path, neighbor_at(old.listening()[0])).unwrap();
    desired.reload().await.unwrap();
    desired.set_enabled(new.listening()[0].ip().into(), false).await.unwrap();
    assert_eq!(desired.handover(), None);
    assert_eq!(handle.config().await.unwrap().neighbors.len(), 1);
    std::fs::remove_file(path).unwrap();
}
