//! `routes`: the tables.

use super::client::with_query;
use super::output::{facts, print, print_json};
use super::{Failure, ReadArgs};
use crate::config::NeighborRef;
use crate::daemon::admin::{ROUTES_LIMIT_MAX, RoutesAnswer};
use crate::daemon::file::prefix_from_text;
use crate::daemon::human::{Align, Colour, Table, colours_wanted, paint};
use crate::view::RouteView;
use clap::Args;
use ipnet::IpNet;

#[derive(Debug, Args)]
pub(super) struct RoutesArgs {
    /// Only this prefix
    #[arg(value_parser = prefix_from_text)]
    prefix: Option<IpNet>,
    /// What this neighbour told us
    #[arg(long, value_name = "ADDRESS[:PORT]", group = "table")]
    received: Option<NeighborRef>,
    /// What we told this neighbour
    #[arg(long, value_name = "ADDRESS[:PORT]", group = "table")]
    advertised: Option<NeighborRef>,
    /// Best routes only
    #[arg(long, group = "table")]
    best: bool,
    /// The more specific prefixes inside PREFIX too
    #[arg(long, requires = "prefix")]
    longer: bool,
    /// All attributes
    #[arg(short, long)]
    verbose: bool,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = ROUTES_LIMIT_MAX)]
    limit: usize,
    #[command(flatten)]
    read: ReadArgs,
}

impl RoutesArgs {
    /// The path and query that ask for these routes.
    fn target(&self) -> String {
        let mut params = vec![("limit", self.limit.to_string())];
        params.extend(self.prefix.map(|prefix| ("prefix", prefix.to_string())));
        let (table, neighbor) = match (self.received, self.advertised) {
            (Some(address), _) => (Some("received"), Some(address)),
            (None, Some(address)) => (Some("advertised"), Some(address)),
            (None, None) => (self.best.then_some("best"), None),
        };
        params.extend(table.map(|table| ("table", table.to_owned())));
        params.extend(neighbor.map(|address| ("neighbor", address.to_string())));
        params.extend(self.longer.then(|| ("longer", "true".to_owned())));
        with_query("/v1/routes", params)
    }
}

pub(super) async fn routes(args: &RoutesArgs) -> Result<(), Failure> {
    let list: RoutesAnswer = args.read.daemon.client().get(&args.target()).await?;
    let colours = colours_wanted();
    if args.read.json {
        print_json(&list.routes)?;
    } else if list.routes.is_empty() {
        print("no routes\n")?;
    } else if args.verbose {
        print(&list.routes.iter().map(|route| render_verbose(route, colours)).collect::<String>())?;
    } else {
        print(&render(&list.routes, colours))?;
    }
    if list.truncated {
        eprintln!("note: there are more than {} routes; name a PREFIX to see the others", list.routes.len());
    }
    Ok(())
}

/// `>` best, `s` stale.
fn render(routes: &[RouteView], colours: bool) -> String {
    let mut table = Table::new(vec![
        ("", Align::Left),
        ("PREFIX", Align::Left),
        ("NEXT HOP", Align::Left),
        ("FROM", Align::Left),
        ("PREF", Align::Right),
        ("MED", Align::Right),
        ("AS PATH", Align::Left),
    ]);
    let number = |value: Option<u32>| value.map_or(String::new(), |value| value.to_string());
    for route in routes {
        let colour = if route.stale { Colour::Pending } else { Colour::Plain };
        let marks = [(route.best, '>'), (route.stale, 's')];
        let marks = marks.into_iter().filter(|(is_so, _)| *is_so).map(|(_, mark)| mark).collect();
        let plain = |text: String| (text, Colour::Plain);
        table.row(vec![
            (marks, if route.best && !route.stale { Colour::Good } else { colour }),
            (named(route), colour),
            plain(route.next_hop.clone().unwrap_or_default()),
            plain(route.source()),
            plain(number(route.local_pref)),
            plain(number(route.med)),
            plain(route.as_path.clone()),
        ]);
    }
    table.render(colours)
}

/// A path's name: its prefix, and its identifier if it has one.
fn named(route: &RouteView) -> String {
    route
        .path_id
        .map_or_else(|| route.prefix.to_string(), |path_id| format!("{} path {path_id}", route.prefix))
}

fn render_verbose(route: &RouteView, colours: bool) -> String {
    let mut title = paint(&route.prefix.to_string(), Colour::Title, colours);
    if route.best {
        title.push_str(&format!(" {}", paint("best", Colour::Good, colours)));
    }
    if route.stale {
        title.push_str(&format!(
            " {}",
            paint("stale: kept while its neighbour restarts", Colour::Pending, colours)
        ));
    }
    let number = |value: Option<u32>| value.map(|value| value.to_string());
    let listed = |texts: &[String]| (!texts.is_empty()).then(|| texts.join(" "));
    let text = |text: &String| (!text.is_empty()).then(|| text.clone());
    let attributes = facts([
        ("  next hop", route.next_hop.clone()),
        ("  from", Some(route.source())),
        ("  origin", Some(route.origin.clone())),
        ("  AS path", text(&route.as_path)),
        ("  local pref", number(route.local_pref)),
        ("  MED", number(route.med)),
        ("  communities", listed(&route.communities)),
        ("  extended", listed(&route.extended_communities)),
        ("  large", listed(&route.large_communities)),
        ("  originator", route.originator_id.clone()),
        ("  clusters", listed(&route.cluster_list)),
        ("  path id", number(route.path_id)),
    ]);
    format!("{title}\n{attributes}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Family;
    use crate::daemon::human::WIDTH;

    fn route() -> RouteView {
        RouteView {
            prefix: "192.168.1.0/26".parse().unwrap(),
            family: Family::Ipv4Unicast,
            next_hop: Some("10.0.0.2".to_owned()),
            from: "10.0.0.9".to_owned(),
            kernel: None,
            best: true,
            origin: "igp".to_owned(),
            as_path: String::new(),
            local_pref: Some(100),
            med: None,
            communities: vec!["64512:1".to_owned(), "64512:2".to_owned()],
            extended_communities: Vec::new(),
            large_communities: Vec::new(),
            originator_id: Some("10.0.0.2".to_owned()),
            cluster_list: vec!["10.0.0.9".to_owned()],
            path_id: None,
            stale: false,
        }
    }

    #[test]
    fn the_table_shows_best_and_stale() {
        let stale = RouteView { best: false, stale: true, path_id: Some(7), ..route() };
        assert_eq!(
            render(&[route(), stale], false),
            "   PREFIX                 NEXT HOP  FROM      PREF  MED  AS PATH\n\
             >  192.168.1.0/26         10.0.0.2  10.0.0.9   100\n\
             s  192.168.1.0/26 path 7  10.0.0.2  10.0.0.9   100\n"
        );
    }

    #[test]
    fn long_addresses_and_paths_fit() {
        let long = RouteView {
            prefix: "2001:db8:1111:2222:3333:4444:5555:6666/128".parse().unwrap(),
            next_hop: Some("2001:db8:1111:2222:3333:4444:5555:7777".to_owned()),
            from: "2001:db8:1111:2222:3333:4444:5555:8888".to_owned(),
            as_path: "65001 ".repeat(40),
            ..route()
        };
        let text = render(&[long], false);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    }

    #[test]
    fn verbose_shows_every_attribute_that_is_there() {
        assert_eq!(
            render_verbose(&route(), false),
            "192.168.1.0/26 best\n\
             \x20 next hop       10.0.0.2\n\
             \x20 from           10.0.0.9\n\
             \x20 origin         igp\n\
             \x20 local pref     100\n\
             \x20 communities    64512:1 64512:2\n\
             \x20 originator     10.0.0.2\n\
             \x20 clusters       10.0.0.9\n"
        );
    }
}
