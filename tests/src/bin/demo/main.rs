//! The demo: a cluster that one can watch, touch and break. `cargo xtask demo` builds and runs it.
//!
//! Five nodes with pods, each in a network namespace: three run our daemon, one BIRD, one GoBGP. First a full mesh, then
//! moved live to our reflector while every pod pings every other; then one daemon is killed. It says what happens as it
//! happens. `--check` does the same unattended: the exit code is 0 only if every step held.

mod members;
mod report;

use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use bgp_lab::cluster::{Host, finish_pings, none_lost, ping_all_pairs, start_pings};
use bgp_lab::daemons::ours::Ours;
use bgp_lab::ping::ContinuousPing;
use bgp_lab::{Daemon, Lab, LabError, Node, Switch, holds_for, secs, wait_established, wait_until};

use members::{Kind, Member, NODES};
use report::Report;

/// How long anything may take.
const PATIENCE: Duration = secs(20);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_check = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--check"] => true,
        _ => {
            eprintln!("usage: demo [--check]");
            return ExitCode::from(2);
        }
    };
    let lab = match Lab::new("demo") {
        Ok(lab) => lab,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let mut report = Report::new();
    match play(&lab, &mut report) {
        Ok(cluster) if is_check => {
            report.line("");
            report.held(format!("every step held, in {:.0} s", report.seconds()));
            drop(cluster);
            ExitCode::SUCCESS
        }
        Ok(cluster) => {
            stay(&mut report, &cluster);
            ExitCode::SUCCESS
        }
        Err(error) => {
            report.failure(&format!("in {}\n{error}", report.current_step()));
            lab.keep_logs();
            ExitCode::FAILURE
        }
    }
}

/// What is up at the end.
struct Cluster {
    members: Vec<Member>,
    reflector: Ours,
}

fn play(lab: &Lab, report: &mut Report) -> Result<Cluster, LabError> {
    let switch = lab.switch("switch")?;
    let mut members = build(lab, &switch, report)?;
    mesh(report, &mut members)?;
    let (reflector_node, mut reflector) = members::reflector(lab, &switch, &members)?;
    move_to_reflector(report, &mut members, &reflector_node, &mut reflector)?;
    kill_one(report, &mut members, &reflector_node)?;
    Ok(Cluster { members, reflector })
}

fn build(lab: &Lab, switch: &Switch, report: &mut Report) -> Result<Vec<Member>, LabError> {
    report.section("A cluster", "Each node and each pod is a network namespace; the nodes share one switch.");
    let members = members::full_mesh(lab, switch)?;
    report.heading(&format!(
        "{:<8}{:<12}{:<14}{:<19}{:<19}{}",
        "node", "runs", "address", "IPv6", "pods", "IPv6 pods"
    ));
    for Member { host, kind, .. } in &members {
        report.line(format_args!(
            "{:<8}{:<12}{:<14}{:<19}{:<19}{}",
            host.node.name,
            kind.program(),
            host.node.v4.to_string(),
            host.node.v6.to_string(),
            host.block_v4.to_string(),
            host.block_v6
        ));
    }
    report.event("the network is there");
    Ok(members)
}

fn mesh(report: &mut Report, members: &mut [Member]) -> Result<(), LabError> {
    report.section("A full mesh", "Every node speaks with every other: both families on one session.");
    for member in members.iter_mut() {
        member.daemon().start()?;
        report.event(format_args!("{}: {} runs", member.name(), member.kind.program()));
    }
    let mut ends = 0;
    for member in members.iter_mut() {
        let count = member.wait_sessions()?;
        ends += count;
        report.event(format_args!("{}: {count} of {count} sessions are up", member.name()));
    }
    report.held(format_args!("{} sessions, each up on both sides", ends / 2));

    let others = NODES.len() - 1;
    for member in members.iter_mut() {
        let peers: Vec<IpAddr> = NODES.iter().zip(1..).map(|(_, number)| address(number)).collect();
        let own: IpAddr = member.host.node.v4.into();
        for peer in peers.into_iter().filter(|peer| *peer != own) {
            member.wait_routes_from(peer, 2)?;
        }
    }
    copy_gobgp(report, members)?;
    wait_kernels(members)?;
    report.held(format_args!(
        "every kernel holds a route to the pods of the {others} other nodes, in both families"
    ));
    show_routes(report, members)?;
    ping_everybody(report, members)
}

/// The IPv4 address of node `number`.
fn address(number: u8) -> IpAddr {
    [172, 17, 8, 100 + number].into()
}

/// GoBGP leaves the kernel to others, and the demo says so.
fn copy_gobgp(report: &Report, members: &mut [Member]) -> Result<(), LabError> {
    for member in members.iter_mut().filter(|member| member.kind == Kind::GoBgp) {
        member.copy_table_to_kernel()?;
        report.event(format_args!(
            "{}: GoBGP does not program the kernel; the demo copied its table with `ip route`",
            member.name()
        ));
    }
    Ok(())
}

fn hosts(members: &[Member]) -> Vec<&Host> {
    members.iter().map(|member| &member.host).collect()
}

fn check_kernels(members: &[Member]) -> Result<(), String> {
    let hosts = hosts(members);
    for host in &hosts {
        let others: Vec<&Host> =
            hosts.iter().copied().filter(|other| other.node.v4 != host.node.v4).collect();
        host.check_kernel(&others)?;
    }
    Ok(())
}

fn wait_kernels(members: &[Member]) -> Result<(), LabError> {
    wait_until("every kernel to hold every block", PATIENCE, || check_kernels(members))
}

fn show_routes(report: &Report, members: &[Member]) -> Result<(), LabError> {
    for Member { host, kind, .. } in members {
        report.heading(&format!("{}, {}", host.node.name, kind.program()));
        for route in host.kernel_routes()? {
            report.line(format_args!("  {route}"));
        }
    }
    Ok(())
}

fn ping_everybody(report: &Report, members: &[Member]) -> Result<(), LabError> {
    let replies = ping_all_pairs(&hosts(members), secs(5))?;
    report.held(format_args!(
        "every pod pings every other over IPv4 and IPv6: {replies} of {replies} answered"
    ));
    Ok(())
}

/// Stops the pings and demands that none was lost.
fn no_ping_lost(report: &Report, pings: Vec<ContinuousPing>) -> Result<(), LabError> {
    let counts = finish_pings(pings);
    none_lost(&counts)?;
    let sent: u64 = counts.iter().map(|count| count.sent_count).sum();
    let gap = counts.iter().map(|count| count.longest_gap).max().unwrap_or_default();
    report.held(format_args!(
        "{sent} pings between pods meanwhile, 0 lost, longest gap {} ms",
        gap.as_millis()
    ));
    Ok(())
}

fn move_to_reflector(
    report: &mut Report,
    members: &mut [Member],
    node: &Node,
    reflector: &mut Ours,
) -> Result<(), LabError> {
    report.section(
        "Move to a reflector, live",
        "First everybody gets a session with the reflector beside the mesh, then the mesh goes.\n\
         Every pod pings every other all the time.",
    );
    let pings = start_pings(&hosts(members));
    let address: IpAddr = node.v4.into();
    reflector.start()?;
    report.event(format_args!("reflector: route-reflector runs at {address}"));
    for member in members.iter_mut() {
        member.add_peer(address)?;
        report.event(format_args!("{}: reconfigured, now with the reflector too", member.name()));
    }
    for member in members.iter_mut() {
        wait_established(member.daemon(), address, PATIENCE)?;
        wait_established(reflector, member.host.node.v4.into(), PATIENCE)?;
        member.wait_routes_from(address, 2 * (NODES.len() - 1))?;
        report.event(format_args!("{}: has every route from the reflector as well", member.name()));
    }
    for member in members.iter_mut() {
        member.keep_only_peer(address)?;
        report.event(format_args!("{}: reconfigured, without the mesh", member.name()));
    }
    for (member, number) in members.iter_mut().zip(1..) {
        for other in (1..).take(NODES.len()).filter(|other| *other != number) {
            member.wait_peer_gone(self::address(other))?;
        }
        member.wait_routes_from(address, 2 * (NODES.len() - 1))?;
    }
    report.held(format_args!("{} sessions instead of {}", NODES.len(), NODES.len() * (NODES.len() - 1) / 2));
    holds_for("the kernels after the move", secs(1), || check_kernels(members))?;
    report.held("every kernel still holds every route");
    no_ping_lost(report, pings)?;
    show_routes(report, &members[..1])?;
    ping_everybody(report, members)
}

fn kill_one(report: &mut Report, members: &mut [Member], reflector: &Node) -> Result<(), LabError> {
    report.section("Kill a daemon", "Forwarding is the kernel's work: it must outlive the daemon.");
    let pings = start_pings(&hosts(members));
    let victim = 1;
    let name = members[victim].name().to_owned();
    let pid = members[victim].pid().map(|pid| format!(" (process {pid})")).unwrap_or_default();
    members[victim].daemon().kill();
    report.event(format_args!("{name}: killed with SIGKILL{pid}"));
    holds_for("the kernels without the daemon", secs(3), || check_kernels(members))?;
    report.held(format_args!("3 s later every kernel still holds every route, also {name}'s own"));
    members[victim].daemon().start()?;
    report.event(format_args!("{name}: {} runs again", members[victim].kind.program()));
    wait_established(members[victim].daemon(), reflector.v4.into(), PATIENCE)?;
    members[victim].wait_routes_from(reflector.v4.into(), 2 * (NODES.len() - 1))?;
    report.event(format_args!("{name}: its session with the reflector is up again"));
    holds_for("the kernels after the restart", secs(1), || check_kernels(members))?;
    no_ping_lost(report, pings)
}

/// Leaves everything up, with things to try, until a signal ends the process.
fn stay(report: &mut Report, cluster: &Cluster) {
    report.section("Yours", "The cluster stays up until Ctrl-C. In another terminal, as root:");
    // Inside a user namespace of our own, others must enter it first.
    let is_initial =
        std::fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| map.contains("4294967295"));
    if !is_initial {
        report.hint(format_args!("nsenter -t {} -U -m --preserve-credentials", std::process::id()));
    }
    if let Ok(this) = std::env::current_exe()
        && let Some(folder) = this.parent()
    {
        report.hint(format_args!("PATH=$PATH:{}", folder.display()));
    }
    let member = |name: &str| cluster.members.iter().find(|member| member.name() == name);
    if let (Some(a), Some(d)) = (member("node-a"), member("node-d")) {
        report.hint(format_args!("ip -n {} route", a.host.node.namespace.name()));
        report.hint(format_args!("ip netns exec {} ping {}", a.host.pod.namespace.name(), d.host.pod.v4));
    }
    report.hint(cluster.reflector.hint("neighbors"));
    for name in ["node-a", "node-d", "node-e"] {
        if let Some(member) = member(name) {
            report.hint(member.hint());
        }
    }
    loop {
        std::thread::park();
    }
}
