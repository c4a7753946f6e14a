//! `watch`: what happens, as it happens.

use super::events::EventStream;
use super::output::print_open;
use super::{Failure, ReadArgs};
use crate::daemon::events::{Change, Event, FibChange, Told};
use crate::daemon::human::{Colour, colours_wanted, paint};
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct WatchArgs {
    /// Sessions only
    #[arg(long, group = "what")]
    neighbors: bool,
    /// Best routes only
    #[arg(long, group = "what")]
    routes: bool,
    #[command(flatten)]
    read: ReadArgs,
}

pub(super) async fn watch(args: &WatchArgs) -> Result<(), Failure> {
    let topics = match (args.neighbors, args.routes) {
        (true, _) => "sessions",
        (_, true) => "routes",
        _ => "",
    };
    let mut events = EventStream::open(args.read.daemon.client(), topics).await?;
    let colours = colours_wanted();
    eprintln!("note: watching; Ctrl-C ends");
    while let Some((told, json)) = events.next().await? {
        if told.event == Event::End && !args.read.json {
            break;
        }
        let text = if args.read.json { json + "\n" } else { lines(&told, colours) };
        if !print_open(&text)? {
            return Ok(());
        }
    }
    Err(Failure::Failed("the daemon has ended; start to watch again once it is back".to_owned()))
}

/// With the time of day in front of each.
fn lines(told: &Told, colours: bool) -> String {
    let time = told.time.get(11..23).unwrap_or(&told.time);
    let texts = texts(&told.event, colours);
    texts.iter().map(|text| format!("{time} {text}\n")).collect()
}

fn texts(event: &Event, colours: bool) -> Vec<String> {
    let good = |text: &str| paint(text, Colour::Good, colours);
    let bad = |text: &str| paint(text, Colour::Bad, colours);
    match event {
        Event::Session { neighbor, name, change, state, error, .. } => {
            let whom = if name == neighbor { name.clone() } else { format!("{name} ({neighbor})") };
            let why = error.as_ref().map_or_else(String::new, |error| format!(": {error}"));
            vec![match change {
                Change::Added => format!("session {whom}: new neighbour"),
                Change::Removed => format!("session {whom}: neighbour gone"),
                Change::Up => format!("session {whom}: {}", good("up")),
                Change::Down => format!("session {whom}: {}, now {state}{why}", bad("down")),
                Change::Failed => format!("session {whom}: {}, now {state}{why}", bad("does not come up")),
            }]
        }
        Event::Route { prefix, next_hop, source } => {
            let via = next_hop.as_ref().map_or_else(String::new, |next_hop| format!(" via {next_hop}"));
            vec![format!("route {prefix}{via} from {source}")]
        }
        Event::NoRoute { prefix } => vec![format!("no route {prefix}")],
        Event::Converged => vec!["converged: all neighbours were heard, or waited for".to_owned()],
        Event::Config { steps, more } => {
            let more = (*more > 0).then(|| format!("config: and {more} further steps"));
            steps.iter().map(|step| format!("config: {step}")).chain(more).collect()
        }
        Event::Fib { change, prefix, error, count } => {
            vec![format!("kernel: {}", kernel(*change, *prefix, error.as_deref(), *count))]
        }
        Event::Lost { count: Some(count) } => vec![bad(&format!("{count} events lost: read too slowly"))],
        Event::Lost { count: None } => vec![bad("events lost, nobody knows how many")],
        Event::End => vec!["the daemon ends".to_owned()],
    }
}

fn kernel(
    change: FibChange,
    prefix: Option<ipnet::IpNet>,
    error: Option<&str>,
    count: Option<u64>,
) -> String {
    let prefix = prefix.map_or_else(|| "a route".to_owned(), |prefix| prefix.to_string());
    let because = error.map_or_else(String::new, |error| format!(" ({error})"));
    let count = count.unwrap_or_default();
    match change {
        FibChange::Conflict => format!("{prefix} belongs to somebody else, ours waits"),
        FibChange::Refused => format!("{prefix} refused{because}"),
        FibChange::Repaired => format!("{prefix} was removed or changed by somebody, and is back"),
        FibChange::Diverged => format!("read back{because}: {count} prefixes were not as believed"),
        FibChange::Swept => format!("{count} routes of an earlier run removed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(change: Change, error: Option<&str>) -> Event {
        Event::Session {
            neighbor: "10.0.0.2".to_owned(),
            name: "spine-1".to_owned(),
            change,
            state: "Idle".to_owned(),
            reason: None,
            error: error.map(str::to_owned),
        }
    }

    #[test]
    fn every_event_is_a_sentence() {
        let fib = |change, prefix: Option<&str>, error: Option<&str>, count| Event::Fib {
            change,
            prefix: prefix.map(|prefix| prefix.parse().unwrap()),
            error: error.map(str::to_owned),
            count,
        };
        let prefix = "10.2.0.0/26".parse().unwrap();
        for (event, text) in [
            (session(Change::Added, None), "session spine-1 (10.0.0.2): new neighbour"),
            (session(Change::Up, None), "session spine-1 (10.0.0.2): up"),
            (
                session(Change::Down, Some("connection: reset")),
                "session spine-1 (10.0.0.2): down, now Idle: connection: reset",
            ),
            (
                session(Change::Failed, Some("refused")),
                "session spine-1 (10.0.0.2): does not come up, now Idle: refused",
            ),
            (session(Change::Removed, None), "session spine-1 (10.0.0.2): neighbour gone"),
            (
                Event::Route { prefix, next_hop: Some("10.0.0.2".to_owned()), source: "10.0.0.9".to_owned() },
                "route 10.2.0.0/26 via 10.0.0.2 from 10.0.0.9",
            ),
            (
                Event::Route { prefix, next_hop: None, source: "local".to_owned() },
                "route 10.2.0.0/26 from local",
            ),
            (Event::NoRoute { prefix }, "no route 10.2.0.0/26"),
            (
                fib(FibChange::Conflict, Some("10.2.0.0/26"), None, None),
                "kernel: 10.2.0.0/26 belongs to somebody else, ours waits",
            ),
            (
                fib(FibChange::Diverged, None, Some("overrun"), Some(3)),
                "kernel: read back (overrun): 3 prefixes were not as believed",
            ),
            (Event::Lost { count: Some(7) }, "7 events lost: read too slowly"),
        ] {
            let told = Told { event, time: "2026-03-01T12:00:05.007Z".to_owned() };
            assert_eq!(lines(&told, false), format!("12:00:05.007 {text}\n"));
        }
    }
}
