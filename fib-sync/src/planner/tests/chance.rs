//! Whatever happens, in any order: the kernel has what is wanted in the end.

use proptest::prelude::*;

use super::*;

/// What can happen to a `Fib`.
#[derive(Debug, Clone)]
enum Happening {
    Add { prefix: usize },
    Converge,
    FailOver { from: usize, to: usize },
    Interrupt { count: usize },
    LoseBatch,
    Mute,
    Overrun,
    Overwrite { prefix: usize },
    Refuse { prefix: usize, is_refused: bool },
    Remove { prefix: usize, metric: usize },
    ReplaceAll { routes: Vec<(usize, usize, usize)> },
    Restart,
    Reverse,
    SetInterface { interface: usize, is_up: bool },
    SetWay { way: usize },
    Take,
    Unwant { prefix: usize },
    Wait,
    Want { prefix: usize, kind: usize, metric: usize },
    Work { steps: usize },
}

const PREFIXES: [&str; 6] =
    ["10.1.0.0/16", "10.1.0.0/24", "10.2.0.0/16", "0.0.0.0/0", "10.3.3.3/32", "10.4.0.0/30"];

const METRICS: [Option<u32>; 3] = [None, Some(50), Some(METRIC)];

fn kinds() -> Vec<RouteKind> {
    vec![
        via(&["10.0.0.2"]),
        via(&["10.0.1.2"]),
        via(&["10.0.0.2", "10.0.1.2"]),
        via(&["10.0.0.2", "10.0.0.3"]),
        via(&["fd00::2"]),
        RouteKind::Blackhole,
        RouteKind::Unicast(NextHopSet::new([NextHop::recursive(addr(FAR))]).unwrap()),
        RouteKind::Unicast(
            NextHopSet::new([NextHop::recursive(addr(FAR)), NextHop::via(addr("10.0.0.3"))]).unwrap(),
        ),
        RouteKind::Unicast(NextHopSet::new([NextHop::tunnelled(addr(FAR), across())]).unwrap()),
        RouteKind::Unicast(NextHopSet::new([NextHop::tunnelled(addr("10.0.0.4"), across())]).unwrap()),
    ]
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening::*;
    let prefix = 0..PREFIXES.len();
    let kind = 0..kinds().len();
    let metric = 0..METRICS.len();
    let route = (prefix.clone(), kind.clone(), metric.clone());
    prop_oneof![
        8 => route.clone().prop_map(|(prefix, kind, metric)| Want { prefix, kind, metric }),
        3 => prefix.clone().prop_map(|prefix| Unwant { prefix }),
        1 => proptest::collection::vec(route, 0..5).prop_map(|routes| ReplaceAll { routes }),
        6 => (0..4usize).prop_map(|steps| Work { steps }),
        4 => Just(Take),
        2 => Just(Wait),
        1 => Just(Converge),
        2 => (kind.clone(), kind.clone()).prop_map(|(from, to)| FailOver { from, to }),
        1 => Just(Restart),
        2 => prefix.clone().prop_map(|prefix| Add { prefix }),
        2 => prefix.clone().prop_map(|prefix| Overwrite { prefix }),
        3 => (prefix.clone(), metric).prop_map(|(prefix, metric)| Remove { prefix, metric }),
        2 => (prefix, any::<bool>()).prop_map(|(prefix, is_refused)| Refuse { prefix, is_refused }),
        1 => Just(Reverse),
        3 => (0..3usize, any::<bool>()).prop_map(|(interface, is_up)| SetInterface { interface, is_up }),
        1 => Just(LoseBatch),
        1 => (1..4usize).prop_map(|count| Interrupt { count }),
        1 => Just(Mute),
        1 => Just(Overrun),
        3 => (0..WAYS.len()).prop_map(|way| SetWay { way }),
    ]
}

/// What should be wanted, kept the simple way.
type Model = BTreeMap<IpNet, Route>;

fn route((prefix, kind, metric): (usize, usize, usize)) -> Route {
    Route { prefix: net(PREFIXES[prefix]), kind: kinds()[kind].clone(), metric: METRICS[metric] }
}

fn happen(pair: &mut Pair, model: &mut Model, happening: &Happening) {
    let interface = |index: usize| ["eth0", "eth1", "eth2"][index];
    match happening {
        Happening::Add { prefix } => {
            pair.kernel.add_route(net(PREFIXES[*prefix]), METRIC, THEIRS);
        }
        Happening::Converge => pair.planner.converged(),
        Happening::FailOver { from, to } => {
            let (from, to) = (kinds()[*from].clone(), kinds()[*to].clone());
            let (RouteKind::Unicast(old), RouteKind::Unicast(new)) = (&from, &to) else { return };
            pair.planner.fail_over(old, new);
            let over = model.values_mut().filter(|route| route.kind == from);
            over.for_each(|route| route.kind = to.clone());
        }
        Happening::Interrupt { count } => pair.kernel.interrupt_dumps(*count),
        Happening::LoseBatch => pair.kernel.lose_batches(1),
        Happening::Mute => pair.kernel.mute(),
        Happening::Overrun => pair.kernel.overrun(),
        Happening::Overwrite { prefix } => {
            pair.kernel.overwrite_route(net(PREFIXES[*prefix]), METRIC, THEIRS)
        }
        Happening::Refuse { prefix, is_refused } => {
            pair.kernel.refuse(net(PREFIXES[*prefix]), is_refused.then_some(libc::ENOMEM));
        }
        Happening::Reverse => pair.kernel.reverse_notices(),
        Happening::Remove { prefix, metric } => {
            pair.kernel.remove_route(net(PREFIXES[*prefix]), METRICS[*metric].unwrap_or(METRIC));
        }
        Happening::ReplaceAll { routes: chosen } => {
            let routes: Vec<Route> = chosen.iter().copied().map(route).collect();
            *model = routes.iter().map(|route| (route.prefix, route.clone())).collect();
            pair.planner.replace_all(routes);
        }
        Happening::Restart => {
            // The owner of a new process says again what it wants.
            pair.restart();
            for route in model.values() {
                pair.planner.apply(Change::Set(route.clone()));
            }
        }
        Happening::SetInterface { interface: index, is_up } => {
            pair.kernel.set_interface_up(interface(*index), *is_up);
        }
        Happening::SetWay { way } => set_way(&pair.kernel, *way),
        Happening::Take => {
            pair.take();
        }
        Happening::Unwant { prefix } => {
            model.remove(&net(PREFIXES[*prefix]));
            pair.planner.apply(Change::Remove(net(PREFIXES[*prefix])));
        }
        Happening::Wait => pair.wait(),
        Happening::Want { prefix, kind, metric } => {
            let route = route((*prefix, *kind, *metric));
            model.insert(route.prefix, route.clone());
            pair.planner.apply(Change::Set(route));
        }
        Happening::Work { steps } => {
            for _ in 0..*steps {
                pair.step();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    /// Whatever happens, once it stops happening the kernel has what is wanted, and nobody else's route was touched.
    #[test]
    fn desired_equals_installed_in_the_end(
        happenings in proptest::collection::vec(happening(), 1..60),
        has_objects in any::<bool>(),
        last_way in 0..3usize,
    ) {
        let mut pair = Pair::new();
        if !has_objects {
            pair.kernel.without_nexthop_objects();
        }
        let mut model = Model::new();
        // A request that is out already may overwrite what somebody puts in the place of ours meanwhile.
        let (mut was_mute, mut was_race) = (false, false);
        for happening in &happenings {
            // In the wrong order notices may tell lies; then, too, the others' routes are found by a dump at the latest.
            was_mute |= matches!(happening, Happening::Mute | Happening::Reverse);
            let is_foreign = matches!(happening, Happening::Add { .. } | Happening::Overwrite { .. });
            was_race |= is_foreign && !pair.given_out.is_empty();
            happen(&mut pair, &mut model, happening);
            check_counts(&pair, &model)?;
        }
        // Quiet: interfaces are up, others' routes are gone, the monitor hears again.
        for interface in ["eth0", "eth1", "eth2"] {
            pair.kernel.set_interface_up(interface, true);
        }
        set_way(&pair.kernel, last_way);
        for prefix in PREFIXES {
            pair.kernel.refuse(net(prefix), None);
            if pair.kernel.routes(THEIRS).contains(&(net(prefix), METRIC)) {
                pair.kernel.remove_route(net(prefix), METRIC);
            }
        }
        if was_mute {
            pair.kernel.overrun();
        }
        pair.planner.converged();
        pair.settle_with_retries();

        let status = pair.planner.status();
        let contents = pair.kernel.contents(OURS);
        prop_assert_eq!(contents.len(), model.len(), "{:#?}", status);
        for ((prefix, metric), content) in &contents {
            let environment = &pair.planner.environment;
            let wanted = model.get(prefix);
            let is_kind = wanted.is_some_and(|route| diff::is_equal(&route.kind, content, environment));
            prop_assert!(is_kind, "{} {:?}", prefix, content);
            prop_assert_eq!(wanted.map(|route| route.metric.unwrap_or(METRIC)), Some(*metric));
        }
        for gateway in pair.planner.far_gateways() {
            prop_assert_eq!(pair.planner.environment.way(gateway), Some(&pair.kernel.way_to(gateway)));
        }
        prop_assert!(status.is_in_step(), "{:#?}", status);
        if !was_mute && !was_race {
            prop_assert_eq!(pair.kernel.overwritten_count(), 0);
        }
        pair.planner.remove_all();
        pair.settle_with_retries();
        prop_assert_eq!(pair.kernel.route_count(OURS), 0);
        prop_assert_eq!(pair.kernel.nexthop_ids(), vec![]);
    }
}

/// The counts that are kept on the way are those that counting would give.
fn check_counts(pair: &Pair, model: &Model) -> Result<(), TestCaseError> {
    let status = &pair.planner.status;
    let count = |condition: &dyn Fn(&Entry) -> bool| pair.planner.routes.ids_where(condition).len();
    prop_assert_eq!(status.desired, model.len());
    prop_assert_eq!(status.desired, count(&|entry| entry.wanted().is_some()));
    prop_assert_eq!(status.installed, count(&|entry| entry.has(Flag::InStep)));
    let is_leftover = |entry: &Entry| entry.wanted().is_none() && entry.belief != Belief::ABSENT;
    prop_assert_eq!(status.leftover, count(&is_leftover));
    let conflicts = pair.planner.pending.values().filter(|pending| pending.is_conflict).count();
    prop_assert_eq!(status.conflicts, conflicts);
    Ok(())
}
