//! `routes`: the tables.

use super::client::with_query;
use super::output::{facts, json_text, print_open};
use super::{Failure, ReadArgs};
use crate::config::NeighborRef;
use crate::daemon::admin::RoutesAnswer;
use crate::daemon::file::prefix_from_text;
use crate::daemon::human::{Align, Colour, Table, colours_wanted, paint};
use crate::view::{RouteCursor, RouteView};
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
    /// At most this many; all unless given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    #[command(flatten)]
    read: ReadArgs,
}

impl RoutesArgs {
    /// The path and query that ask for these routes from a place on.
    fn target(&self, limit: usize, cursor: Option<&RouteCursor>) -> String {
        let mut params = vec![("limit", limit.to_string())];
        params.extend(cursor.map(|cursor| ("cursor", cursor.to_string())));
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

/// Routes per request: enough to be quick, few enough to be shown at once.
const PAGE_ROUTES: usize = 5000;

pub(super) async fn routes(args: &RoutesArgs) -> Result<(), Failure> {
    let client = args.read.daemon.client();
    let mut out = Output::new(args);
    let mut left = args.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let mut cursor = None;
    loop {
        let target = args.target(left.min(PAGE_ROUTES), cursor.as_ref());
        let page: RoutesAnswer = client.get(&target).await?;
        left = left.saturating_sub(page.routes.len());
        cursor = page.cursor;
        out.page(&page.routes)?;
        if cursor.is_none() || left == 0 || out.is_closed {
            break;
        }
    }
    out.end()?;
    if cursor.is_some() && left == 0 {
        eprintln!("note: there are more routes; raise --limit, or name a PREFIX");
    }
    Ok(())
}

/// Page after page, as if it were one.
struct Output<'a> {
    args: &'a RoutesArgs,
    colours: bool,
    count: usize,
    /// Of the columns so far.
    widths: Vec<usize>,
    /// Whoever reads has read enough.
    is_closed: bool,
}

impl<'a> Output<'a> {
    fn new(args: &'a RoutesArgs) -> Self {
        Self { args, colours: colours_wanted(), count: 0, widths: Vec::new(), is_closed: false }
    }

    fn page(&mut self, routes: &[RouteView]) -> Result<(), Failure> {
        if routes.is_empty() {
            return Ok(());
        }
        let text = if self.args.read.json {
            self.json(routes)?
        } else if self.args.verbose {
            routes.iter().map(|route| render_verbose(route, self.colours)).collect()
        } else {
            self.table(routes)
        };
        self.count += routes.len();
        self.write(&text)
    }

    fn table(&mut self, routes: &[RouteView]) -> String {
        let table = table(routes).continuing(std::mem::take(&mut self.widths));
        self.widths = table.widths();
        if self.count == 0 { table.render(self.colours) } else { table.render_rows(self.colours) }
    }

    /// Elements of one list, laid out as all other answers are.
    fn json(&self, routes: &[RouteView]) -> Result<String, Failure> {
        let text = json_text(&routes)?;
        let elements = text.strip_prefix('[').and_then(|text| text.trim_end().strip_suffix(']'));
        let start = if self.count == 0 { "[" } else { "," };
        Ok(format!("{start}{}", elements.unwrap_or_default().trim_end()))
    }

    fn end(&mut self) -> Result<(), Failure> {
        match (self.args.read.json, self.count) {
            (true, 0) => self.write("[]\n"),
            (true, _) => self.write("\n]\n"),
            (false, 0) => self.write("no routes\n"),
            (false, _) => Ok(()),
        }
    }

    fn write(&mut self, text: &str) -> Result<(), Failure> {
        self.is_closed |= !print_open(text)?;
        Ok(())
    }
}

/// `>` best, `s` stale.
fn table(routes: &[RouteView]) -> Table {
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
    table
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
            table(&[route(), stale]).render(false),
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
        let text = table(&[long]).render(false);
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
