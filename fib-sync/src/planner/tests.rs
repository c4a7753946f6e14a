//! The planner over a fake kernel, on virtual time: short stories, and one property over all of them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::*;
use crate::fake_kernel::FakeKernel;
use crate::kernel::Kernel;
use crate::model::NextHop;
use crate::reach::{Tunnel, TunnelWhen};

const OURS: u8 = 12;
const THEIRS: u8 = 4;
const METRIC: u32 = 1024;

/// A planner and a kernel; time passes only when told.
struct Pair {
    kernel: FakeKernel,
    planner: Planner,
    now: Instant,
    config: FibConfig,
    /// Given out and not begun, oldest first.
    given_out: VecDeque<Work>,
}

impl Pair {
    fn new() -> Pair {
        let kernel = FakeKernel::new();
        kernel.add_interface("eth0", net("10.0.0.0/24"));
        kernel.add_interface("eth1", net("10.0.1.0/24"));
        kernel.add_interface("eth2", net("fd00::/64"));
        Pair::over(kernel, FibConfig { batch_len: 2, audit_interval: None, ..FibConfig::default() })
    }

    fn over(kernel: FakeKernel, config: FibConfig) -> Pair {
        kernel.serve(config.ownership());
        let now = Instant::now();
        let mut planner = Planner::new(&config, now);
        planner.set_listened_to(true);
        let mut pair = Pair { kernel, planner, now, config, given_out: VecDeque::new() };
        pair.kernel.take_notices();
        pair.settle();
        pair.kernel.take_operations();
        pair
    }

    /// A new process over the same kernel.
    fn restart(&mut self) {
        let now = self.now;
        self.given_out.clear();
        self.planner = Planner::new(&self.config, now);
        self.planner.set_listened_to(true);
    }

    fn hear(&mut self) {
        for notice in self.kernel.take_notices() {
            self.planner.notice(self.now, notice);
        }
    }

    /// Takes the next piece of work, if there is one, and leaves it undone for now.
    fn take(&mut self) -> bool {
        self.hear();
        let work = self.planner.next_work(self.now);
        let is_work = work.is_some();
        self.given_out.extend(work);
        is_work
    }

    /// One piece of work, if there is one. Returns whether there was.
    fn step(&mut self) -> bool {
        self.take();
        match self.given_out.pop_front() {
            None => return false,
            Some(Work::Batch(ops)) => {
                let result = self.kernel.execute(&ops);
                self.planner.batch_done(self.now, ops, result);
            }
            Some(Work::Dump(reading)) => {
                let result = self.kernel.read(&reading);
                self.planner.dump_done(self.now, result);
            }
        }
        true
    }

    /// Works until nothing is left to do, waiting for dumps that are due but not for retries.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            if self.step() {
                continue;
            }
            if self.planner.is_idle() {
                return;
            }
            self.wait();
        }
        panic!("never idle: {:#?}", self.planner.status());
    }

    /// Jumps to the next deadline.
    fn wait(&mut self) {
        if let Some(deadline) = self.planner.next_deadline() {
            self.now = self.now.max(deadline);
        }
    }

    /// Settles, and lets refused routes be tried again a few times.
    fn settle_with_retries(&mut self) {
        for _ in 0..10 {
            self.settle();
            self.wait();
        }
        self.settle();
    }

    fn set(&mut self, prefix: &str, kind: &RouteKind) {
        self.planner.apply(Change::Set(Route { prefix: net(prefix), kind: kind.clone(), metric: None }));
    }

    fn set_at(&mut self, prefix: &str, kind: &RouteKind, metric: u32) {
        let route = Route { prefix: net(prefix), kind: kind.clone(), metric: Some(metric) };
        self.planner.apply(Change::Set(route));
    }

    fn events(&mut self) -> Vec<FibEvent> {
        std::iter::from_fn(|| self.planner.poll_event()).collect()
    }

    fn route_ops(&self) -> Vec<Op> {
        let is_route = |op: &Op| matches!(op, Op::SetRoute { .. } | Op::DeleteRoute { .. });
        self.kernel.take_operations().into_iter().filter(is_route).collect()
    }
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn via(gateways: &[&str]) -> RouteKind {
    let hop = |gateway: &&str| NextHop::via(gateway.parse::<IpAddr>().unwrap());
    RouteKind::Unicast(NextHopSet::new(gateways.iter().map(hop)).unwrap())
}

#[test]
fn the_latest_state_of_a_prefix_wins_while_a_batch_is_in_flight() {
    let mut pair = Pair::new();
    pair.set("10.1.0.0/16", &via(&["10.0.0.2"]));
    let Some(Work::Batch(first)) = pair.planner.next_work(pair.now) else { panic!("a batch") };
    for last in 3..9 {
        pair.set("10.1.0.0/16", &via(&[&format!("10.0.0.{last}")]));
    }
    assert!(pair.planner.next_work(pair.now).is_none(), "one batch at a time");
    let result = pair.kernel.execute(&first);
    pair.planner.batch_done(pair.now, first, result);
    pair.kernel.take_operations();
    pair.settle();
    let ops = pair.route_ops();
    assert!(
        matches!(ops.as_slice(), [Op::SetRoute { verb: Verb::Replace, .. }]),
        "one request for six changes: {ops:?}"
    );
    let contents = pair.kernel.contents(OURS);
    assert_eq!(contents[&(net("10.1.0.0/16"), METRIC)].hops[0].gateway, "10.0.0.8".parse().ok());
}

#[test]
fn a_change_that_is_taken_back_costs_nothing() {
    let mut pair = Pair::new();
    pair.set("10.1.0.0/16", &via(&["10.0.0.2"]));
    pair.settle();
    pair.kernel.take_operations();
    pair.set("10.1.0.0/16", &RouteKind::Blackhole);
    pair.set("10.1.0.0/16", &via(&["10.0.0.2"]));
    pair.settle();
    assert_eq!(pair.route_ops(), []);
    assert_eq!(pair.planner.status().installed, 1);
}

#[test]
fn a_refused_route_waits_and_is_tried_ever_more_rarely() {
    let mut pair = Pair::new();
    pair.set("10.1.0.0/16", &via(&["192.0.2.1"]));
    pair.set("10.2.0.0/16", &via(&["10.0.0.2"]));
    pair.settle();
    let status = pair.planner.status();
    assert_eq!((status.installed, status.pending), (1, 1));
    assert_eq!(status.pending_routes[0].reason.text.as_deref(), Some("Nexthop has invalid gateway"));
    let mut gaps = Vec::new();
    for _ in 0..9 {
        let before = pair.now;
        pair.wait();
        gaps.push((pair.now - before).as_secs());
        pair.kernel.take_operations();
        pair.settle();
        assert_eq!(pair.route_ops().len(), 1, "one attempt");
    }
    assert_eq!(gaps, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    let failures = pair.events().iter().filter(|event| matches!(event, FibEvent::Failed { .. })).count();
    assert_eq!(failures, 1, "told once");
}

#[test]
fn changes_elsewhere_hurry_a_retry_but_never_into_a_tight_loop() {
    let mut pair = Pair::new();
    pair.set("10.1.0.0/16", &via(&["192.0.2.1"]));
    pair.settle();
    pair.kernel.take_operations();
    // A thousand foreign changes within a second.
    for millisecond in 0..1000 {
        pair.kernel.overwrite_route(net("172.16.0.0/16"), millisecond, THEIRS);
        pair.now += Duration::from_millis(1);
        while pair.step() {}
    }
    let attempts = pair.route_ops().len();
    assert!((2..12).contains(&attempts), "{attempts} attempts");
}

#[test]
fn nexthop_objects_are_shared_and_go_with_their_last_route() {
    let mut pair = Pair::new();
    for index in 0..20 {
        pair.set(&format!("10.1.{index}.0/24"), &via(&["10.0.0.2", "10.0.1.2"]));
    }
    pair.set("10.2.0.0/16", &via(&["10.0.0.2"]));
    pair.settle();
    assert_eq!(pair.kernel.nexthop_ids().len(), 4, "two members, their group, and a gateway by itself");
    pair.planner.converged();
    for index in 0..20 {
        pair.planner.apply(Change::Remove(net(&format!("10.1.{index}.0/24"))));
    }
    pair.settle();
    assert_eq!(pair.kernel.nexthop_ids().len(), 1);
    pair.planner.remove_all();
    pair.settle();
    assert_eq!(pair.kernel.nexthop_ids(), []);
    assert_eq!(pair.kernel.route_count(OURS), 0);
}

#[test]
fn without_nexthop_objects_routes_carry_their_gateways() {
    let mut pair = Pair::new();
    pair.kernel.without_nexthop_objects();
    pair.set("10.1.0.0/16", &via(&["10.0.0.2", "10.0.1.2"]));
    pair.set("10.2.0.0/16", &via(&["10.0.0.2"]));
    pair.settle();
    assert_eq!(pair.planner.status().installed, 2, "{:#?}", pair.planner.status());
    assert!(pair.kernel.contents(OURS).values().all(|content| content.nexthop_id == 0));
}

#[test]
fn a_conflict_is_told_once_and_ends_with_the_other_route() {
    let mut pair = Pair::new();
    pair.kernel.add_route(net("10.1.0.0/16"), METRIC, THEIRS);
    pair.set("10.1.0.0/16", &via(&["10.0.0.2"]));
    pair.settle_with_retries();
    assert_eq!(pair.planner.status().conflicts, 1);
    assert_eq!(pair.planner.status().resyncs, 1, "retries do not dump again");
    let conflict = FibEvent::Conflict { prefix: net("10.1.0.0/16") };
    assert_eq!(pair.events().iter().filter(|event| **event == conflict).count(), 1);
    assert_eq!(pair.kernel.route_count(THEIRS), 1);
    pair.kernel.remove_route(net("10.1.0.0/16"), METRIC);
    pair.settle();
    assert_eq!((pair.planner.status().conflicts, pair.planner.status().installed), (0, 1));
}

#[test]
fn a_lost_batch_is_followed_by_a_dump_before_anything_else() {
    let mut pair = Pair::new();
    pair.kernel.lose_batches(1);
    for index in 0..10 {
        pair.set(&format!("10.1.{index}.0/24"), &via(&["10.0.0.2"]));
    }
    assert!(pair.step());
    assert!(
        pair.planner
            .next_work(pair.now)
            .is_none_or(|work| matches!(work, Work::Dump(Reading { scope: Scope::Full, .. })))
    );
    pair.planner.in_flight.clear();
    pair.planner.request_dump(Scope::Full, ResyncReason::BatchLost);
    pair.settle();
    assert_eq!(pair.planner.status().installed, 10);
    assert_eq!(pair.planner.status().conflicts, 0, "what was done of the lost batch is recognised as ours");
}

#[test]
fn a_restart_changes_nothing_and_sweeps_only_after_convergence() {
    let mut pair = Pair::new();
    for index in 0..4 {
        pair.set(&format!("10.1.{index}.0/24"), &via(&["10.0.0.2", "10.0.1.2"]));
    }
    pair.settle();
    pair.kernel.take_operations();
    pair.restart();
    pair.settle();
    assert_eq!(pair.planner.status().leftover, 4);
    for index in 0..3 {
        pair.set(&format!("10.1.{index}.0/24"), &via(&["10.0.0.2", "10.0.1.2"]));
    }
    pair.settle();
    assert_eq!(pair.kernel.take_operations(), [], "all is as wanted");
    assert_eq!((pair.planner.status().installed, pair.planner.status().leftover), (3, 1));
    pair.planner.converged();
    pair.settle();
    let ops = pair.kernel.take_operations();
    assert_eq!(ops, [Op::DeleteRoute { prefix: net("10.1.3.0/24"), metric: METRIC }]);
    assert_eq!(pair.events().last(), Some(&FibEvent::Swept { count: 1 }));
}

#[test]
fn a_route_with_another_metric_is_there_before_the_old_one_goes() {
    let mut pair = Pair::new();
    let (kind, v6) = (via(&["10.0.0.2"]), via(&["fd00::2"]));
    pair.set("10.1.0.0/24", &kind);
    pair.set_at("fd01::/64", &v6, 0);
    pair.settle();
    assert_eq!(pair.kernel.routes(OURS), [(net("10.1.0.0/24"), METRIC), (net("fd01::/64"), 1024)]);
    pair.kernel.take_operations();
    // Neither waits for the owner to have said everything: it has said this.
    pair.set_at("10.1.0.0/24", &kind, 50);
    pair.set_at("fd01::/64", &v6, 1024);
    pair.settle();
    let ops = pair.route_ops();
    assert!(
        matches!(
            &ops[..],
            [
                Op::SetRoute { metric: 50, verb: Verb::Create, .. },
                // 0 is 1024 there, so that nothing is deleted.
                Op::SetRoute { metric: 1024, verb: Verb::Replace, .. },
                Op::DeleteRoute { metric: METRIC, .. },
            ]
        ),
        "{ops:?}"
    );
    assert_eq!(pair.kernel.routes(OURS), [(net("10.1.0.0/24"), 50), (net("fd01::/64"), 1024)]);
    assert!(pair.planner.status().is_in_step(), "{:#?}", pair.planner.status());
    let kept: Vec<FibEvent> =
        pair.events().into_iter().filter(|event| matches!(event, FibEvent::Swept { .. })).collect();
    assert_eq!(kept, []);
    pair.planner.apply(Change::Remove(net("10.1.0.0/24")));
    pair.planner.apply(Change::Remove(net("fd01::/64")));
    pair.planner.converged();
    pair.settle();
    assert_eq!(pair.kernel.route_count(OURS), 0);
    assert_eq!(pair.kernel.nexthop_ids(), []);
}

#[test]
fn a_metric_that_comes_back_finds_its_route() {
    let mut pair = Pair::new();
    let kind = via(&["10.0.0.2"]);
    pair.set("10.1.0.0/24", &kind);
    pair.settle();
    pair.planner.converged();
    // The first request is out when the owner changes its mind, again and again.
    for metric in [50, METRIC, 50, 60, METRIC] {
        pair.set_at("10.1.0.0/24", &kind, metric);
        pair.step();
    }
    pair.settle();
    assert_eq!(pair.kernel.routes(OURS), [(net("10.1.0.0/24"), METRIC)]);
    assert!(pair.planner.status().is_in_step());
}

#[test]
fn the_old_metric_stays_while_somebody_else_has_the_new_one() {
    let mut pair = Pair::new();
    let (kind, other) = (via(&["10.0.0.2"]), via(&["10.0.1.2"]));
    pair.set("10.1.0.0/24", &kind);
    pair.settle();
    pair.planner.converged();
    pair.kernel.add_route(net("10.1.0.0/24"), 50, THEIRS);
    pair.set_at("10.1.0.0/24", &other, 50);
    pair.settle_with_retries();
    assert_eq!(pair.planner.status().conflicts, 1);
    assert_eq!(pair.kernel.routes(OURS), [(net("10.1.0.0/24"), METRIC)]);
    assert_ne!(pair.kernel.nexthop_ids(), [], "what it goes over stays too");
    pair.kernel.remove_route(net("10.1.0.0/24"), 50);
    pair.settle_with_retries();
    assert_eq!(pair.kernel.routes(OURS), [(net("10.1.0.0/24"), 50)]);
    assert_eq!(pair.kernel.overwritten_count(), 0);
    assert!(pair.planner.status().is_in_step(), "{:#?}", pair.planner.status());
}

#[test]
fn routes_of_an_earlier_run_are_adopted_under_the_metrics_that_they_have() {
    let mut pair = Pair::new();
    for index in 0..4 {
        pair.set_at(&format!("10.1.{index}.0/24"), &via(&["10.0.0.2"]), 2_147_483_547);
    }
    // What another program with our protocol id left, without a metric.
    pair.kernel.add_route(net("10.2.0.0/24"), 0, OURS);
    pair.settle();
    pair.kernel.take_operations();
    pair.restart();
    pair.settle();
    assert_eq!(pair.planner.status().leftover, 5);
    for index in 0..3 {
        pair.set_at(&format!("10.1.{index}.0/24"), &via(&["10.0.0.2"]), 2_147_483_547);
    }
    pair.set("10.2.0.0/24", &RouteKind::Blackhole);
    pair.settle();
    let ops = pair.route_ops();
    assert!(
        matches!(
            &ops[..],
            [Op::SetRoute { metric: METRIC, verb: Verb::Create, .. }, Op::DeleteRoute { metric: 0, .. },]
        ),
        "only what has another metric is written: {ops:?}"
    );
    assert_eq!((pair.planner.status().installed, pair.planner.status().leftover), (4, 1));
    pair.planner.converged();
    pair.settle();
    assert!(pair.planner.status().is_in_step());
    assert_eq!(pair.kernel.route_count(OURS), 4);
}

#[test]
fn a_failover_is_one_message_for_any_number_of_routes() {
    for (from, to) in
        [(&["10.0.0.2"][..], &["10.0.1.2"][..]), (&["10.0.0.2", "10.0.0.3"], &["10.0.0.3", "10.0.1.2"])]
    {
        for is_target_in_use in [false, true] {
            let mut pair = Pair::new();
            for index in 0..200 {
                pair.set(&format!("10.1.{index}.0/24"), &via(from));
            }
            if is_target_in_use {
                pair.set("10.2.0.0/16", &via(to));
            }
            pair.settle();
            pair.kernel.take_operations();
            let (RouteKind::Unicast(from), RouteKind::Unicast(to)) = (via(from), via(to)) else {
                unreachable!()
            };
            assert_eq!(pair.planner.fail_over(&from, &to), 200);
            pair.settle();
            let ops = pair.kernel.take_operations();
            let changes =
                ops.iter().filter(|op| matches!(op, Op::SetNexthop { verb: Verb::Replace, .. })).count();
            assert_eq!(changes, 1, "{ops:?}");
            assert!(
                !ops.iter().any(|op| matches!(op, Op::SetRoute { .. } | Op::DeleteRoute { .. })),
                "{ops:?}"
            );
            let status = pair.planner.status();
            assert!(status.installed == status.desired, "{status:#?}");
            let contents = pair.kernel.contents(OURS);
            let kind = RouteKind::Unicast(to);
            assert!(contents.values().all(|content| diff::is_equal(
                &kind,
                content,
                &pair.planner.environment
            )));
            pair.planner.remove_all();
            pair.settle();
            assert_eq!(pair.kernel.nexthop_ids(), []);
        }
    }
}

#[test]
fn a_failover_that_the_kernel_refuses_leaves_routes_pending() {
    let mut pair = Pair::new();
    for index in 0..100 {
        pair.set(&format!("10.1.{index}.0/24"), &via(&["10.0.0.2"]));
    }
    pair.settle();
    pair.kernel.refuse_nexthop_changes(true);
    let (RouteKind::Unicast(from), RouteKind::Unicast(to)) = (via(&["10.0.0.2"]), via(&["10.0.1.2"])) else {
        unreachable!()
    };
    pair.planner.fail_over(&from, &to);
    pair.settle();
    let contents = pair.kernel.contents(OURS);
    let kind = RouteKind::Unicast(to);
    assert!(contents.values().all(|content| diff::is_equal(&kind, content, &pair.planner.environment)));
    assert!(pair.planner.status().is_in_step(), "{:#?}", pair.planner.status());
}

/// A gateway that is no neighbour, and the ways to it.
const FAR: &str = "10.9.0.1";
const WAYS: [&[&str]; 4] = [&["10.0.0.2"], &["10.0.1.2"], &["10.0.0.2", "10.0.1.2"], &[]];

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn across() -> Tunnel {
    Tunnel { device: "eth1".parse().unwrap(), when: TunnelWhen::CrossSubnet }
}

fn set_way(kernel: &FakeKernel, index: usize) {
    let neighbours: Vec<IpAddr> = WAYS[index].iter().map(|text| addr(text)).collect();
    kernel.set_way(net("10.9.0.0/16"), &neighbours);
}

fn recursive(gateway: &str) -> RouteKind {
    RouteKind::Unicast(NextHopSet::new([NextHop::recursive(addr(gateway))]).unwrap())
}

#[test]
fn an_audit_finds_what_nobody_told() {
    let kernel = FakeKernel::new();
    kernel.add_interface("eth0", net("10.0.0.0/24"));
    let interval = Duration::from_secs(300);
    let config = FibConfig { audit_interval: Some(interval), ..FibConfig::default() };
    let mut pair = Pair::over(kernel, config);
    for index in 0..10 {
        pair.set(&format!("10.1.{index}.0/24"), &via(&["10.0.0.2"]));
    }
    pair.settle();
    pair.events();
    pair.kernel.mute();
    assert!(pair.kernel.remove_route(net("10.1.3.0/24"), METRIC));
    pair.settle();
    assert_eq!(pair.kernel.route_count(OURS), 9, "not known yet");
    assert_eq!(pair.planner.next_deadline().map(|at| at <= pair.now + interval), Some(true));
    pair.now += interval;
    pair.settle();
    assert_eq!(pair.kernel.route_count(OURS), 10);
    let status = pair.planner.status();
    assert_eq!((status.repaired, status.resyncs, status.is_in_step()), (1, 1, true));
    let audit = FibEvent::Resync { reason: ResyncReason::Audit, differences: 1 };
    assert!(pair.events().contains(&audit));
    // The next one has nothing to say.
    pair.kernel.take_operations();
    pair.now += interval;
    pair.settle();
    assert!(pair.events().contains(&FibEvent::Resync { reason: ResyncReason::Audit, differences: 0 }));
    assert_eq!(pair.kernel.take_operations(), []);
}

mod chance;
mod gateways;
