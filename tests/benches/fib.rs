//! Routes into the kernel: how fast the kernel could, how fast `fib-sync` does, and how long it takes from a BGP peer
//! into the kernel through our speaker, BIRD and FRR. Needs root; everything happens in network namespaces of its own.
//!
//! ```text
//! cargo xtask bench fib [--quick] [--json]
//! ```
//! `FIB_BENCH_ROUTES` sets the number of routes, `FIB_BENCH_ROUNDS` how often each rate is measured; the best counts.
//! With `--json` the results are the only thing on the standard output.

#[path = "fib/end_to_end.rs"]
mod end_to_end;
#[path = "fib/rates.rs"]
mod rates;
#[path = "fib/raw.rs"]
mod raw;

use std::error::Error;

use bgp_lab::Lab;
use rates::{Comparison, Cost, Memory};
use serde_json::json;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |option: &str| arguments.iter().any(|argument| argument == option);
    let setting = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u32>().ok());
    let route_count = setting("FIB_BENCH_ROUTES").unwrap_or(if has("--quick") { 50_000 } else { 500_000 });
    let rounds = setting("FIB_BENCH_ROUNDS").unwrap_or(if has("--quick") { 1 } else { 3 });

    let lab = Lab::new("fib")?;
    let namespace = lab.namespace("rates")?;
    namespace.ip(&rates::script())?;
    let memory = namespace.run(|| rates::memory(route_count))??;
    let comparisons = namespace.run(|| rates::compare(route_count, rounds as usize))??;

    let end_to_end = end_to_end::run(&lab, route_count);

    let per_second = |cost: Cost| f64::from(route_count) / cost.wall.as_secs_f64();
    if has("--json") {
        let rates: Vec<_> = comparisons
            .iter()
            .map(|one| {
                json!({
                    "op": one.op.name(), "kind": one.kind.name(),
                    "ours_per_s": per_second(one.ours).round(),
                    "raw_per_s": per_second(one.raw).round(),
                    "raw_scattered_per_s": per_second(one.raw_scattered).round(),
                    "ours_user_share": one.ours.user.as_secs_f64() / one.ours.wall.as_secs_f64(),
                })
            })
            .collect();
        let end_to_end: Vec<_> = end_to_end
            .iter()
            .map(|(daemon, elapsed)| json!({ "daemon": daemon, "seconds": elapsed.as_secs_f64() }))
            .collect();
        let memory = json!({
            "in_pieces": memory.in_pieces, "replacing": memory.replacing, "adopting": memory.adopting,
        });
        let results = json!({
            "routes": route_count, "rates": rates, "bytes_per_route": memory, "end_to_end": end_to_end,
        });
        println!("{results}");
    } else {
        print_rates(&comparisons, &per_second);
        print_memory(&memory);
        println!("seconds from the first UPDATE of a peer until the kernel has all {route_count} routes:");
        for (daemon, elapsed) in &end_to_end {
            println!("  {daemon:<6} {:>6.2}", elapsed.as_secs_f64());
        }
    }
    Ok(())
}

fn print_rates(comparisons: &[Comparison], per_second: &dyn Fn(Cost) -> f64) {
    println!("thousand routes per second, and seconds of processor time (user + system):");
    println!("                    raw, ascending      raw, scattered        ours               user/wall");
    let cell = |cost: Cost| {
        let (user, system) = (cost.user.as_secs_f64(), cost.system.as_secs_f64());
        format!("{:>6.0} ({user:.2}+{system:.2})", per_second(cost) / 1e3)
    };
    for one in comparisons {
        println!(
            "{:<8} {:<9} {:>18} {:>19} {:>18} {:>9.0} %",
            one.op.name(),
            one.kind.name(),
            cell(one.raw),
            cell(one.raw_scattered),
            cell(one.ours),
            one.ours.user.as_secs_f64() / one.ours.wall.as_secs_f64() * 100.0,
        );
    }
}

fn print_memory(memory: &Memory) {
    println!("peak memory, bytes per route:");
    println!("  handed over in pieces  {:>6.1}", memory.in_pieces);
    println!("  and replaced           {:>6.1}", memory.replacing);
    println!("  adopted, all at once   {:>6.1}", memory.adopting);
}
