//! `status`: one screen.

use super::output::{facts, print, print_json};
use super::{Failure, ReadArgs};
use crate::daemon::file::table_name;
use crate::daemon::human::{Colour, age, colours_wanted, handover, paint, state_colour};
use crate::view::{DatastoreView, FibView, KernelImportView, StatusView};

pub(super) async fn status(args: &ReadArgs) -> Result<(), Failure> {
    let status: StatusView = args.daemon.client().get("/v1/status").await?;
    if args.json { print_json(&status) } else { print(&render(&status, colours_wanted())) }
}

fn render(status: &StatusView, colours: bool) -> String {
    let families = status.paths.keys().chain(status.routes.keys()).collect::<std::collections::BTreeSet<_>>();
    let routes = families.into_iter().map(|family| {
        let count =
            |map: &std::collections::BTreeMap<String, usize>| map.get(family).copied().unwrap_or_default();
        format!("{family}: {} best of {} paths", count(&status.routes), count(&status.paths))
    });
    let routes = routes.collect::<Vec<_>>().join(", ");
    let sessions = status.sessions.iter().filter(|(_, sessions)| **sessions > 0);
    let sessions =
        sessions.map(|(state, count)| paint(&format!("{count} {state}"), state_colour(state), colours));
    let sessions = sessions.collect::<Vec<_>>().join(", ");
    let none_if_empty = |text: String| if text.is_empty() { "none".to_owned() } else { text };
    let ready = if status.ready {
        paint("ready", Colour::Good, colours)
    } else {
        paint("waiting for the first routes of all neighbours", Colour::Pending, colours)
    };
    facts([
        ("speaker", Some(format!("AS {}, router id {}", status.asn, status.router_id))),
        ("reflector", status.cluster_id.as_ref().map(|id| format!("of cluster {id}"))),
        ("running", Some(format!("for {}, {ready}", age(status.uptime_secs)))),
        ("listening", Some(none_if_empty(status.listen.join(", ")))),
        ("sessions", Some(none_if_empty(sessions))),
        ("routes", Some(none_if_empty(routes))),
        (
            "kernel",
            Some(status.fib.as_ref().map_or("routes stay out of it".to_owned(), |fib| kernel(fib, colours))),
        ),
        ("kernel error", status.fib.as_ref().and_then(|fib| fib.last_error.clone())),
        ("kernel import", status.kernel_import.as_ref().map(|import| kernel_import(import, colours))),
        ("handover", status.handover.as_ref().map(handover)),
        ("datastore", status.datastore.as_ref().map(|datastore| self::datastore(datastore, colours))),
        ("datastore error", status.datastore.as_ref().and_then(|datastore| datastore.last_error.clone())),
        ("invalid", status.datastore.as_ref().and_then(invalid)),
    ])
}

fn kernel_import(import: &KernelImportView, colours: bool) -> String {
    let mut text = format!("{} routes of other programs, {} networks", import.routes, import.networks);
    if import.refused > 0 {
        text.push_str(&paint(&format!(", no room for {} more", import.refused), Colour::Bad, colours));
    }
    if let Some(error) = &import.last_error {
        text.push_str(&paint(&format!(", not read the last time: {error}"), Colour::Bad, colours));
    }
    text
}

fn datastore(datastore: &DatastoreView, colours: bool) -> String {
    let state = match datastore.up {
        true => paint("followed", Colour::Good, colours),
        false => paint("not reached, what it held last is in force", Colour::Bad, colours),
    };
    format!("{state}, revision {}", datastore.revision)
}

/// The first objects that are wrong; `--json` has all.
fn invalid(datastore: &DatastoreView) -> Option<String> {
    let shown = datastore
        .invalid
        .iter()
        .take(INVALID_SHOWN)
        .map(|object| format!("{}: {}", object.key, object.reason));
    let mut lines: Vec<String> = shown.collect();
    let more = datastore.invalid.len().saturating_sub(INVALID_SHOWN);
    lines.extend((more > 0).then(|| format!("and {more} more (--json shows all)")));
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// How many invalid objects fit one screen.
const INVALID_SHOWN: usize = 5;

fn kernel(fib: &FibView, colours: bool) -> String {
    let table = table_name(fib.table).map_or(fib.table.to_string(), str::to_owned);
    let state = if fib.in_sync {
        paint("in sync", Colour::Good, colours)
    } else {
        paint(&format!("{} pending, {} in conflict", fib.pending, fib.conflicts), Colour::Bad, colours)
    };
    format!(
        "{} of {} routes installed in table {table} as protocol {}, {state}",
        fib.installed, fib.desired, fib.protocol
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{HandoverView, HeldSession, InvalidObject};

    #[test]
    fn one_screen_says_it_all() {
        let status = StatusView {
            asn: 64512,
            router_id: "10.0.0.1".to_owned(),
            cluster_id: Some("10.0.0.1".to_owned()),
            uptime_secs: 192,
            listen: vec!["0.0.0.0:179".to_owned()],
            sessions: [("Active".to_owned(), 1), ("Established".to_owned(), 6), ("Idle".to_owned(), 0)]
                .into(),
            routes: [("ipv4-unicast".to_owned(), 12)].into(),
            paths: [("ipv4-unicast".to_owned(), 40)].into(),
            ready: true,
            fib: Some(FibView {
                table: 254,
                protocol: 12,
                desired: 12,
                installed: 12,
                in_sync: true,
                ..FibView::default()
            }),
            kernel_import: Some(KernelImportView {
                routes: 3,
                networks: 2,
                refused: 7,
                ..KernelImportView::default()
            }),
            datastore: Some(DatastoreView {
                up: false,
                revision: 17,
                last_error: Some("http://127.0.0.1:2379: connection refused".to_owned()),
                invalid: vec![InvalidObject {
                    kind: "BGPPeer".to_owned(),
                    key: "/calico/x".to_owned(),
                    reason: "unreadable".to_owned(),
                }],
            }),
            handover: Some(HandoverView {
                sessions: vec![HeldSession {
                    neighbor: "10.0.0.2".to_owned(),
                    name: "Mesh_10_0_0_2".to_owned(),
                    role: "leaving".to_owned(),
                }],
                at_most_secs: 28,
                waits_for: vec!["a session with 10.0.0.9".to_owned()],
            }),
        };
        assert_eq!(
            render(&status, false),
            "speaker          AS 64512, router id 10.0.0.1\n\
             reflector        of cluster 10.0.0.1\n\
             running          for 3m12s, ready\n\
             listening        0.0.0.0:179\n\
             sessions         1 Active, 6 Established\n\
             routes           ipv4-unicast: 12 best of 40 paths\n\
             kernel           12 of 12 routes installed in table main as protocol 12, in sync\n\
             kernel import    3 routes of other programs, 2 networks, no room for 7 more\n\
             handover         1 session held for at most 28s (10.0.0.2), waiting for a session with 10.0.0.9\n\
             datastore        not reached, what it held last is in force, revision 17\n\
             datastore error  http://127.0.0.1:2379: connection refused\n\
             invalid          /calico/x: unreadable\n"
        );
    }
}
