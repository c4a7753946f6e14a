//! A node of a Calico cluster goes from BIRD to our daemon and back, as the manual says (`bgp_speaker::manual::calico`),
//! while every pod pings every other.

use std::collections::BTreeSet;

use bgp_lab::calico::{CalicoBird, Runs, Stage};
use bgp_lab::harness::lab_test;
use bgp_lab::{Daemon, Lab, LabError};
use ipnet::IpNet;

#[test]
fn a_calico_node_is_moved_from_bird_and_back_without_a_lost_packet() {
    lab_test("calico-move", |lab: &Lab| {
        let mut stage = Stage::new(lab)?;
        for (name, number) in [("node-a", 1), ("node-b", 2), ("node-e", 5)] {
            stage.join(name, number, name == "node-e")?;
        }
        stage.configure_bird()?;
        for name in ["node-a", "node-b", "node-e"] {
            stage.start(name)?;
        }
        stage.wait_bird()?;
        for name in ["node-a", "node-b", "node-e"] {
            stage.add_home_pod(name)?;
        }
        stage.check("node-e runs BIRD")?;

        let bird = to_ours(&mut stage)?;
        follows_the_cluster(&mut stage)?;
        back_to_bird(&mut stage, bird)?;
        follows_the_cluster(&mut stage)
    });
}

/// Looks first, kills BIRD, starts our daemon, and looks again.
fn to_ours(stage: &mut Stage<'_>) -> Result<CalicoBird, LabError> {
    let node = stage.node("node-e").clone();
    let Runs::Ours(mut ours) = stage.ours(&node)? else { unreachable!("our daemon was asked for") };
    ours.write_config()?;
    let file = ours.config_path().display().to_string();
    ours.offline(&format!("check --config {file}"))?;
    let planned = names(&ours.plan_of_file()?["sessions"]);
    let of_bird = match stage.runs("node-e") {
        Runs::Bird(bird) => bird.ask("show protocols")?,
        Runs::Ours(_) => unreachable!("BIRD runs there"),
    };
    let of_bird: BTreeSet<String> = of_bird
        .lines()
        .filter(|line| line.split_whitespace().nth(1) == Some("BGP"))
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect();
    assert_eq!(planned, of_bird, "the sessions have the same names");

    if let Runs::Bird(bird) = stage.runs("node-e") {
        bird.kill();
    }
    ours.start()?;
    let Runs::Bird(bird) = stage.hand_over("node-e", Runs::Ours(ours)) else {
        unreachable!("BIRD ran there")
    };
    stage.wait_ours()?;
    assert_eq!(names(&stage.ask("node-e", "neighbors")?), of_bird);
    stage.check("node-e runs our daemon")?;
    Ok(bird)
}

/// A SIGTERM leaves all routes, and neighbours keep the node's.
fn back_to_bird(stage: &mut Stage<'_>, bird: CalicoBird) -> Result<(), LabError> {
    stage.our("node-e").stop();
    stage.hand_over("node-e", Runs::Bird(bird));
    stage.configure_bird()?;
    stage.start("node-e")?;
    stage.wait_bird()?;
    stage.wait_ours()?;
    stage.check("node-e runs BIRD again")
}

/// A block comes and goes.
fn follows_the_cluster(stage: &mut Stage<'_>) -> Result<(), LabError> {
    let block: IpNet = "192.168.101.0/26".parse().expect("a prefix");
    stage.data.claim(&stage.etcd, "node-e", block)?;
    stage.configure_bird()?;
    stage.check("node-e has another block")?;
    stage.data.release(&stage.etcd, block)?;
    stage.configure_bird()?;
    stage.check("it has given it back")
}

fn names(sessions: &serde_json::Value) -> BTreeSet<String> {
    let sessions = sessions.as_array().into_iter().flatten();
    sessions.filter_map(|session| session["name"].as_str().map(str::to_owned)).collect()
}
