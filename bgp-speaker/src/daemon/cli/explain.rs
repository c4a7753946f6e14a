//! `explain`: why a prefix is where it is.

use super::client::with_query;
use super::output::{print, print_json};
use super::{Failure, ReadArgs};
use crate::config::NeighborRef;
use crate::daemon::file::prefix_from_text;
use crate::daemon::human::{Colour, colours_wanted, paint};
use crate::view::{ExplainView, ExplainedExport, ExplainedPath};
use clap::Args;
use ipnet::IpNet;

/// So many neighbours that fare alike are named.
const NAMED_MAX: usize = 4;

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The prefix, as it is announced
    #[arg(value_parser = prefix_from_text)]
    prefix: IpNet,
    /// Only what this neighbour is told
    #[arg(long, value_name = "ADDRESS[:PORT]")]
    to: Option<NeighborRef>,
    #[command(flatten)]
    read: ReadArgs,
}

pub(super) async fn explain(args: &ExplainArgs) -> Result<(), Failure> {
    let mut params = vec![("prefix", args.prefix.to_string())];
    params.extend(args.to.map(|to| ("to", to.to_string())));
    let view: ExplainView = args.read.daemon.client().get(&with_query("/v1/explain", params)).await?;
    if args.read.json { print_json(&view) } else { print(&render(&view, colours_wanted())) }
}

fn render(view: &ExplainView, colours: bool) -> String {
    let mut text = format!("{}\n", paint(&view.prefix.to_string(), Colour::Title, colours));
    if view.paths.is_empty() {
        text.push_str("  no path: nobody announces it, or import policy and loop checks keep it out\n");
    }
    if view.is_undecided {
        text.push_str("  not decided yet: neighbours that are restarting are waited for\n");
    }
    view.paths.iter().for_each(|path| text.push_str(&render_path(path, colours)));
    if !view.exports.is_empty() {
        text.push_str("told to\n");
    }
    view.exports.iter().for_each(|export| text.push_str(&render_export(export, colours)));
    text.push_str("kernel\n");
    if view.kernel.is_empty() {
        text.push_str("  no route of ours is meant for it\n");
    }
    view.kernel.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
    text
}

fn render_path(path: &ExplainedPath, colours: bool) -> String {
    let route = &path.route;
    let (mark, colour) = if route.best { (">", Colour::Good) } else { (" ", Colour::Plain) };
    let next_hop = route.next_hop.as_ref().map_or_else(String::new, |next_hop| format!(" via {next_hop}"));
    let stale = if route.stale { ", stale: kept while its neighbour restarts" } else { "" };
    let path_id = route.path_id.map_or_else(String::new, |path_id| format!(" path {path_id}"));
    let from = route.source();
    format!("{} from {from}{path_id}{next_hop}: {}{stale}\n", paint(mark, colour, colours), path.because)
}

fn render_export(export: &ExplainedExport, colours: bool) -> String {
    let count = export.neighbors.len();
    let named = export.neighbors.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
    let who = if count > NAMED_MAX { format!("{named} and {} more", count - NAMED_MAX) } else { named };
    let what = match (export.is_advertised, &export.next_hop) {
        (true, _) if !export.path_ids.is_empty() => {
            let ids: Vec<String> = export.path_ids.iter().map(ToString::to_string).collect();
            let yes = paint(&format!("yes, path {}", ids.join(", ")), Colour::Good, colours);
            format!("{yes}: {}", export.because)
        }
        (true, Some(next_hop)) => paint(&format!("yes, via {next_hop}"), Colour::Good, colours),
        (true, None) => paint("yes", Colour::Good, colours),
        (false, _) => format!("no: {}", export.because),
    };
    let matched = match &export.matched[..] {
        [] => String::new(),
        matched => format!(" (matched {})", matched.join(", ")),
    };
    format!("  {who}: {what}{matched}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Family;
    use crate::view::RouteView;

    fn path(from: &str, best: bool, because: &str) -> ExplainedPath {
        let route = RouteView {
            prefix: "192.168.1.0/26".parse().unwrap(),
            family: Family::Ipv4Unicast,
            next_hop: Some(from.to_owned()),
            from: from.to_owned(),
            kernel: None,
            best,
            origin: "igp".to_owned(),
            as_path: String::new(),
            local_pref: Some(100),
            med: None,
            communities: Vec::new(),
            extended_communities: Vec::new(),
            large_communities: Vec::new(),
            originator_id: None,
            cluster_list: Vec::new(),
            path_id: None,
            stale: false,
        };
        ExplainedPath { route, because: because.to_owned() }
    }

    #[test]
    fn everything_is_told_in_words() {
        let export = |count: usize, is_advertised: bool, because: &str| ExplainedExport {
            neighbors: (0..count).map(|n| format!("10.0.0.{n}")).collect(),
            is_advertised,
            next_hop: is_advertised.then(|| "10.0.0.2".to_owned()),
            path_ids: Vec::new(),
            because: because.to_owned(),
            matched: vec!["filter pods rule 2".to_owned()],
        };
        let view = ExplainView {
            prefix: "192.168.1.0/26".parse().unwrap(),
            paths: vec![path("10.0.0.2", true, "best by A"), path("10.0.0.3", false, "lost by A")],
            is_undecided: false,
            exports: vec![export(6, true, ""), export(1, false, "the export policy")],
            kernel: vec!["192.168.1.0/26 via 10.0.0.2: installed".to_owned()],
        };
        assert_eq!(
            render(&view, false),
            "192.168.1.0/26\n\
             > from 10.0.0.2 via 10.0.0.2: best by A\n\
             \x20 from 10.0.0.3 via 10.0.0.3: lost by A\n\
             told to\n\
             \x20 10.0.0.0, 10.0.0.1, 10.0.0.2, 10.0.0.3 and 2 more: yes, via 10.0.0.2 (matched filter pods rule 2)\n\
             \x20 10.0.0.0: no: the export policy (matched filter pods rule 2)\n\
             kernel\n\
             \x20 192.168.1.0/26 via 10.0.0.2: installed\n"
        );
    }

    #[test]
    fn several_paths_are_named_by_their_identifiers() {
        let mut numbered = path("10.0.0.2", true, "best by A");
        numbered.route.path_id = Some(7);
        assert_eq!(render_path(&numbered, false), "> from 10.0.0.2 path 7 via 10.0.0.2: best by A\n");
        let export = ExplainedExport {
            neighbors: vec!["10.0.0.3".to_owned()],
            is_advertised: true,
            next_hop: Some("10.0.0.2".to_owned()),
            path_ids: vec![1, 4],
            because: "all 2 paths of others".to_owned(),
            matched: Vec::new(),
        };
        assert_eq!(render_export(&export, false), "  10.0.0.3: yes, path 1, 4: all 2 paths of others\n");
    }

    #[test]
    fn a_prefix_that_nobody_announces_is_no_error() {
        let view = ExplainView {
            prefix: "10.0.0.0/8".parse().unwrap(),
            paths: Vec::new(),
            is_undecided: false,
            exports: Vec::new(),
            kernel: Vec::new(),
        };
        let text = render(&view, false);
        assert!(text.contains("no path") && text.contains("no route of ours"), "{text}");
    }
}
