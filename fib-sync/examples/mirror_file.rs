//! Mirrors a file into a routing table, and goes on mirroring it as the file changes.
//!
//! ```text
//! cargo run --example mirror_file -- routes.txt 100     # table 100; stop with Ctrl-C, the routes stay
//! ```
//!
//! One route per line, in the words of `ip route`; `#` starts a comment:
//!
//! ```text
//! 10.1.0.0/16 via 192.0.2.1
//! 10.2.0.0/16 via fe80::1 dev eth0
//! blackhole 10.3.0.0/16
//! ```

use std::error::Error;
use std::time::Duration;

use fib_sync::{Fib, FibConfig, NextHop, NextHopSet, Route, RouteKind};

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::process::ExitCode {
    match run().await {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mirror_file: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: mirror_file <file> [table]")?;
    let table = arguments.next().map_or(Ok(254), |table| table.parse())?;
    let fib = Fib::open(FibConfig { table, ..FibConfig::default() }).await?;
    println!("table {table}: {} routes of an earlier run", fib.adopted());
    let mut known = String::new();
    loop {
        let text = std::fs::read_to_string(&path)?;
        if text != known {
            match parse(&text) {
                Ok(routes) => mirror(&fib, routes).await?,
                // What is installed stays until the file makes sense again.
                Err(error) => eprintln!("{path}: {error}"),
            }
            known = text;
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            result = tokio::signal::ctrl_c() => return Ok(result?),
        }
    }
}

async fn mirror(fib: &Fib, routes: Vec<Route>) -> Result<(), Box<dyn Error>> {
    fib.replace_all(routes).await?;
    let status = fib.flush().await?;
    println!("{} wanted, {} installed, {} removed", status.desired, status.installed, status.removed);
    for pending in status.pending_routes {
        println!("  {} waits: {}", pending.prefix, pending.reason);
    }
    Ok(())
}

fn parse(text: &str) -> Result<Vec<Route>, String> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()).enumerate();
    let parse = |(index, line): (usize, &str)| {
        parse_route(line).map_err(|error| format!("line {}: {error}", index + 1))
    };
    lines.filter(|(_, line)| !line.is_empty()).map(parse).collect()
}

fn parse_route(line: &str) -> Result<Route, Box<dyn Error>> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["blackhole", prefix] => Ok(Route::blackhole(prefix.parse()?)),
        ["unreachable", prefix] => {
            Ok(Route { prefix: prefix.parse()?, kind: RouteKind::Unreachable, metric: None })
        }
        [prefix, "via", gateway] => Ok(Route::via(prefix.parse()?, gateway.parse()?)),
        [prefix, "via", gateway, "dev", interface] => {
            let next_hop = NextHop::via(gateway.parse()?).on(interface.parse()?);
            Ok(Route::unicast(prefix.parse()?, NextHopSet::new([next_hop])?))
        }
        _ => Err(format!("{line:?} is not understood").into()),
    }
}
