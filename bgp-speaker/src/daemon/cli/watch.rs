//! `watch`: session and route changes as they happen, found by asking again and again.

use super::client::{AdminClient, with_query};
use super::output::print;
use super::{Failure, ReadArgs};
use crate::daemon::admin::{ROUTES_LIMIT_MAX, RoutesAnswer};
use crate::daemon::human::{colours_wanted, paint, state_colour};
use crate::view::{NeighborView, RouteView};
use clap::Args;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Debug, Args)]
pub(super) struct WatchArgs {
    /// Sessions only
    #[arg(long, group = "what")]
    neighbors: bool,
    /// Best routes only
    #[arg(long, group = "what")]
    routes: bool,
    /// Seconds between two looks; what comes and goes in between is not seen
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    #[command(flatten)]
    read: ReadArgs,
}

/// One change; a line of JSON with `--json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Change {
    /// A session is in another state, or its neighbour came (`from` is null) or went (`to` is null).
    Session { neighbor: String, from: Option<String>, to: Option<String>, error: Option<String> },
    /// A best route is new or other than before.
    Route { prefix: String, next_hop: Option<String>, source: String },
    /// A prefix has no best route any more.
    NoRoute { prefix: String },
}

impl Change {
    fn line(&self, colours: bool) -> String {
        match self {
            Change::Session { neighbor, from, to, error } => {
                let again = if from == to { ", down and up in between" } else { "" };
                let from = from.as_deref().unwrap_or("new");
                let to = to.as_deref().map_or("gone".to_owned(), |to| paint(to, state_colour(to), colours));
                let error = error.as_ref().map_or(String::new(), |error| format!(" ({error})"));
                format!("session {neighbor}: {from} -> {to}{again}{error}\n")
            }
            Change::Route { prefix, next_hop, source } => {
                let via = next_hop.as_ref().map_or(String::new(), |next_hop| format!(" via {next_hop}"));
                format!("route {prefix}{via} from {source}\n")
            }
            Change::NoRoute { prefix } => format!("no route {prefix}\n"),
        }
    }
}

/// By address and port.
type Sessions = BTreeMap<(String, u16), NeighborView>;
type Routes = BTreeMap<String, RouteView>;

pub(super) async fn watch(args: &WatchArgs) -> Result<(), Failure> {
    let client = args.read.daemon.client();
    let colours = colours_wanted();
    let mut sessions = if args.routes { None } else { Some(read_sessions(&client).await?) };
    let mut routes = if args.neighbors { None } else { Some(read_routes(&client).await?) };
    eprintln!("note: watching; Ctrl-C ends");
    loop {
        tokio::time::sleep(Duration::from_secs(args.interval)).await;
        let mut changes = Vec::new();
        if let Some(old) = &mut sessions {
            let new = read_sessions(&client).await?;
            changes.extend(session_changes(old, &new));
            *old = new;
        }
        if let Some(old) = &mut routes {
            let new = read_routes(&client).await?;
            changes.extend(route_changes(old, &new));
            *old = new;
        }
        for change in changes {
            let line = if args.read.json {
                let json = serde_json::to_string(&change)
                    .map_err(|error| Failure::Failed(format!("cannot write a change as JSON: {error}")))?;
                json + "\n"
            } else {
                change.line(colours)
            };
            print(&line)?;
        }
    }
}

async fn read_sessions(client: &AdminClient) -> Result<Sessions, Failure> {
    let neighbors: Vec<NeighborView> = client.get("/v1/neighbors").await?;
    Ok(neighbors.into_iter().map(|neighbor| (id_of(&neighbor), neighbor)).collect())
}

async fn read_routes(client: &AdminClient) -> Result<Routes, Failure> {
    let params = [("table", "best".to_owned()), ("limit", ROUTES_LIMIT_MAX.to_string())];
    let list: RoutesAnswer = client.get(&with_query("/v1/routes", params)).await?;
    if list.truncated {
        return Err(Failure::Failed(format!(
            "there are more than {ROUTES_LIMIT_MAX} best routes, too many to watch; use watch --neighbors"
        )));
    }
    Ok(list.routes.into_iter().map(|route| (route.prefix.to_string(), route)).collect())
}

fn id_of(neighbor: &NeighborView) -> (String, u16) {
    (neighbor.address.clone(), neighbor.port)
}

fn session_changes(old: &Sessions, new: &Sessions) -> Vec<Change> {
    let came_or_changed = new.values().filter_map(|now| {
        let before = old.get(&id_of(now));
        // A session that went down and up between two looks has the same state, but a higher count.
        let same =
            before.is_some_and(|b| b.state == now.state && b.established_count == now.established_count);
        (!same).then(|| Change::Session {
            neighbor: now.name.clone(),
            from: before.map(|before| before.state.clone()),
            to: Some(now.state.clone()),
            error: now.last_error.clone().filter(|_| now.state != "Established"),
        })
    });
    let went =
        old.values().filter(|before| !new.contains_key(&id_of(before))).map(|before| Change::Session {
            neighbor: before.name.clone(),
            from: Some(before.state.clone()),
            to: None,
            error: before.last_error.clone(),
        });
    came_or_changed.chain(went).collect()
}

fn route_changes(old: &Routes, new: &Routes) -> Vec<Change> {
    let came_or_changed =
        new.iter().filter(|(prefix, now)| old.get(*prefix) != Some(*now)).map(|(prefix, now)| {
            Change::Route { prefix: prefix.clone(), next_hop: now.next_hop.clone(), source: now.from.clone() }
        });
    let went = old.keys().filter(|prefix| !new.contains_key(*prefix));
    came_or_changed.chain(went.map(|prefix| Change::NoRoute { prefix: prefix.clone() })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions(state: &str, established_count: u64) -> Sessions {
        let neighbor = NeighborView {
            address: "10.0.0.2".to_owned(),
            name: "spine-1".to_owned(),
            state: state.to_owned(),
            established_count,
            ..NeighborView::default()
        };
        [(id_of(&neighbor), neighbor)].into()
    }

    fn lines(changes: &[Change]) -> Vec<String> {
        changes.iter().map(|change| change.line(false)).collect()
    }

    #[test]
    fn sessions_come_change_flap_and_go() {
        let none = Sessions::new();
        let (active, up, up_again) =
            (sessions("Active", 0), sessions("Established", 1), sessions("Established", 2));
        assert_eq!(lines(&session_changes(&none, &active)), ["session spine-1: new -> Active\n"]);
        assert_eq!(lines(&session_changes(&active, &up)), ["session spine-1: Active -> Established\n"]);
        assert_eq!(lines(&session_changes(&up, &up)), [""; 0]);
        assert_eq!(
            lines(&session_changes(&up, &up_again)),
            ["session spine-1: Established -> Established, down and up in between\n"]
        );
        assert_eq!(lines(&session_changes(&up, &none)), ["session spine-1: Established -> gone\n"]);
    }

    #[test]
    fn changes_are_json_objects_with_an_event() {
        let change = Change::NoRoute { prefix: "10.0.0.0/8".to_owned() };
        assert_eq!(serde_json::to_string(&change).unwrap(), r#"{"event":"no-route","prefix":"10.0.0.0/8"}"#);
    }
}
