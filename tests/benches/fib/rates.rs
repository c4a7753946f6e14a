//! Installing, replacing and deleting, ours and the raw loop by turns in one run.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use fib_sync::{Change, Fib, FibConfig, NextHopSet, NexthopObjects, Route};
use ipnet::{IpNet, Ipv4Net};
use nix::sys::resource::{UsageWho, getrusage};

use crate::Failure;
use crate::raw::{Raw, gateway, is_via_second, nexthop_id};

/// What is done to every route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Delete,
    Install,
    Replace,
}

impl Op {
    const ALL: [Op; 3] = [Op::Install, Op::Replace, Op::Delete];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Op::Delete => "delete",
            Op::Install => "add",
            Op::Replace => "replace",
        }
    }
}

/// How routes say where they lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Gateway,
    NexthopObject,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Gateway => "gateway",
            Kind::NexthopObject => "nexthop",
        }
    }
}

/// Time and processor time of one run over all routes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    pub(crate) user: Duration,
    pub(crate) system: Duration,
}

/// The best of the rounds of each, for one operation.
#[derive(Debug)]
pub(crate) struct Comparison {
    pub(crate) op: Op,
    pub(crate) kind: Kind,
    pub(crate) ours: Cost,
    /// The raw loop in ascending order of prefixes.
    pub(crate) raw: Cost,
    /// The raw loop in an order that is no order.
    pub(crate) raw_scattered: Cost,
}

/// The `index`th prefix: consecutive /24 networks.
pub(crate) fn prefix(index: u32) -> Ipv4Net {
    Ipv4Net::new(Ipv4Addr::from((20 << 24) + (index << 8)), 24).expect("24 is a length")
}

/// Prepares the thread's namespace: an interface with a network, and the raw loop's own nexthop objects.
pub(crate) fn script() -> String {
    format!(
        "link add a0 type veth peer name a1
         link set a0 up
         link set a1 up
         address add 10.0.0.1/16 dev a0
         nexthop add id {} via {} dev a0
         nexthop add id {} via {} dev a0",
        nexthop_id(false),
        gateway(false),
        nexthop_id(true),
        gateway(true),
    )
}

/// Compares in the thread's namespace. What is told on the way goes to the standard error output.
pub(crate) fn compare(route_count: u32, rounds: usize) -> Result<Vec<Comparison>, Failure> {
    let ascending: Vec<u32> = (0..route_count).collect();
    let scattered = scatter(ascending.clone());
    let raw = Raw::open()?;
    let mut comparisons = Vec::new();
    for kind in [Kind::NexthopObject, Kind::Gateway] {
        let mut costs: [[Option<Cost>; 3]; 3] = Default::default();
        for round in 1..=rounds {
            eprintln!("{}, round {round} of {rounds}", kind.name());
            for (place, op) in Op::ALL.into_iter().enumerate() {
                keep_best(&mut costs[place][0], timed(|| Ok(raw.run(op, kind, &ascending)?))?);
            }
            for (place, op) in Op::ALL.into_iter().enumerate() {
                keep_best(&mut costs[place][1], timed(|| Ok(raw.run(op, kind, &scattered)?))?);
            }
            for (place, cost) in ours(kind, route_count)?.into_iter().enumerate() {
                keep_best(&mut costs[place][2], cost);
            }
        }
        for (op, costs) in Op::ALL.into_iter().zip(costs) {
            if let [Some(raw), Some(raw_scattered), Some(ours)] = costs {
                comparisons.push(Comparison { op, kind, ours, raw, raw_scattered });
            }
        }
    }
    Ok(comparisons)
}

fn keep_best(best: &mut Option<Cost>, cost: Cost) {
    if best.is_none_or(|best| cost.wall < best.wall) {
        *best = Some(cost);
    }
}

/// The costs of our [`Op::ALL`].
fn ours(kind: Kind, route_count: u32) -> Result<[Cost; 3], Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let fib = runtime.block_on(Fib::open(config(kind)))?;
    let set_all = |is_replaced: bool| {
        let routes = routes(route_count, is_replaced);
        timed(|| {
            runtime.block_on(async {
                fib.replace_all(routes).await?;
                fib.flush().await
            })?;
            Ok(())
        })
    };
    let costs = [
        set_all(false)?,
        set_all(true)?,
        timed(|| {
            runtime.block_on(fib.remove_all())?;
            Ok(())
        })?,
    ];
    let status = fib.status();
    if status.removed != u64::from(route_count) || status.operations_failed > 0 {
        return Err(format!("not every route was installed and removed: {status:?}").into());
    }
    Ok(costs)
}

fn config(kind: Kind) -> FibConfig {
    let nexthop_objects = match kind {
        Kind::Gateway => NexthopObjects::Never,
        Kind::NexthopObject => NexthopObjects::Auto,
    };
    FibConfig { nexthop_objects, ..FibConfig::default() }
}

fn routes(route_count: u32, is_replaced: bool) -> Vec<Route> {
    let route = route(is_replaced);
    (0..route_count).map(route).collect()
}

/// Makes routes by their index.
fn route(is_replaced: bool) -> impl Fn(u32) -> Route {
    let sets = [false, true].map(|is_second| NextHopSet::from(IpAddr::V4(gateway(is_second))));
    move |index| {
        let set = &sets[usize::from(is_via_second(index, is_replaced))];
        Route::unicast(IpNet::V4(prefix(index)), set.clone())
    }
}

fn timed(work: impl FnOnce() -> Result<(), Failure>) -> Result<Cost, Failure> {
    let cpu = || -> Result<(Duration, Duration), Failure> {
        let usage = getrusage(UsageWho::RUSAGE_SELF)?;
        let micros = |time: nix::sys::time::TimeVal| {
            Duration::from_secs(time.tv_sec().unsigned_abs())
                + Duration::from_micros(time.tv_usec().unsigned_abs())
        };
        Ok((micros(usage.user_time()), micros(usage.system_time())))
    };
    let (begin, before) = (Instant::now(), cpu()?);
    work()?;
    let (wall, after) = (begin.elapsed(), cpu()?);
    Ok(Cost { wall, user: after.0 - before.0, system: after.1 - before.1 })
}

/// A fixed order that is no order.
fn scatter(mut indices: Vec<u32>) -> Vec<u32> {
    let mut random: u64 = 0x9e37_79b9_7f4a_7c15;
    for place in (1..indices.len()).rev() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        indices.swap(place, usize::try_from(random % (place as u64 + 1)).unwrap_or(0));
    }
    indices
}

/// Peak memory of a process that keeps routes, in bytes per route.
#[derive(Debug)]
pub(crate) struct Memory {
    /// The owner hands routes over in pieces.
    pub(crate) in_pieces: f64,
    /// Then it replaces all of them, in pieces.
    pub(crate) replacing: f64,
    /// A new process adopts them all, and is handed the whole set at once.
    pub(crate) adopting: f64,
}

const PIECE_LEN: u32 = 2048;

/// Measures this process, which must have done nothing yet.
pub(crate) fn memory(route_count: u32) -> Result<Memory, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let per_route = |bytes: u64| bytes as f64 / f64::from(route_count);
    runtime.block_on(async {
        let fib = Fib::open(FibConfig::default()).await?;
        let base = resident_bytes("VmRSS")?;
        in_pieces(&fib, route_count, false).await?;
        let in_pieces_peak = resident_bytes("VmHWM")? - base;
        in_pieces(&fib, route_count, true).await?;
        let replacing_peak = resident_bytes("VmHWM")? - base;
        drop(fib);
        let fib = Fib::open(FibConfig::default()).await?;
        fib.replace_all(routes(route_count, true)).await?;
        let is_in_step = fib.flush().await?.is_in_step();
        let adopting_peak = resident_bytes("VmHWM")? - base;
        fib.remove_all().await?;
        if !is_in_step {
            return Err("not every route was adopted".into());
        }
        Ok(Memory {
            in_pieces: per_route(in_pieces_peak),
            replacing: per_route(replacing_peak),
            adopting: per_route(adopting_peak),
        })
    })
}

async fn in_pieces(fib: &Fib, route_count: u32, is_replaced: bool) -> Result<(), Failure> {
    let route = route(is_replaced);
    for from in (0..route_count).step_by(PIECE_LEN as usize) {
        let piece = from..(from + PIECE_LEN).min(route_count);
        fib.apply(piece.map(|index| Change::Set(route(index))).collect()).await?;
    }
    fib.flush().await?;
    Ok(())
}

fn resident_bytes(what: &str) -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let value = |line: &str| {
        let kibibytes = line.strip_prefix(what)?.strip_prefix(':')?.trim().strip_suffix(" kB")?;
        Some(kibibytes.parse::<u64>().ok()? * 1024)
    };
    status.lines().find_map(value).ok_or_else(|| format!("no {what} in /proc/self/status").into())
}
