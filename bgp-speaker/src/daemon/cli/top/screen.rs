//! The lines of the screen.

use super::snapshot::{Rate, Rates, Snapshot, id_of, now, total};
use crate::daemon::cli::neighbors::{addresses, note, total as prefix_total};
use crate::daemon::human::{Align, Colour, Table, age, paint, state_colour};
use crate::daemon::wall_clock;
use crate::view::{FibView, NeighborView, StatusView};
use std::collections::BTreeSet;

/// Below this nothing sensible fits.
const WIDTH_MIN: usize = 78;
const HEIGHT_MIN: usize = 14;

/// In which order neighbours are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// Those that are not up first, then the busiest.
    State,
    /// The busiest first.
    Updates,
    /// By address.
    Address,
}

impl Sort {
    fn next(self) -> Self {
        match self {
            Sort::State => Sort::Updates,
            Sort::Updates => Sort::Address,
            Sort::Address => Sort::State,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Sort::State => "state",
            Sort::Updates => "updates",
            Sort::Address => "address",
        }
    }
}

/// Parts of a line.
type Spans = Vec<(String, Colour)>;

/// All that is shown.
#[derive(Debug)]
pub(super) struct Screen {
    colours: bool,
    latest: Option<Snapshot>,
    rates: Option<Rates>,
    /// Why there is nothing newer.
    trouble: Option<String>,
    sort: Sort,
    /// Neighbours above the first that is shown.
    scrolled: usize,
}

impl Screen {
    pub(super) fn new(colours: bool) -> Self {
        Self { colours, latest: None, rates: None, trouble: None, sort: Sort::State, scrolled: 0 }
    }

    pub(super) fn update(&mut self, snapshot: Snapshot) {
        // After a pause the rates would be those of the pause.
        let before = self.latest.take().filter(|_| self.trouble.is_none());
        self.rates = before.map(|before| snapshot.rates(&before));
        (self.latest, self.trouble) = (Some(snapshot), None);
    }

    /// The daemon does not answer.
    pub(super) fn trouble(&mut self, why: String) {
        self.trouble = Some(why);
        self.rates = None;
    }

    pub(super) fn scroll(&mut self, lines: isize) {
        let last = self.latest.as_ref().map_or(0, |latest| latest.neighbors.len().saturating_sub(1));
        self.scrolled = self.scrolled.saturating_add_signed(lines).min(last);
    }

    pub(super) fn scroll_home(&mut self) {
        self.scrolled = 0;
    }

    pub(super) fn sort_by_next(&mut self) {
        self.sort = self.sort.next();
        self.scrolled = 0;
    }

    /// At most `height` lines, none wider than `width`.
    pub(super) fn lines(&self, width: usize, height: usize) -> Vec<String> {
        if width < WIDTH_MIN || height < HEIGHT_MIN {
            let text = format!("too small: {WIDTH_MIN} x {HEIGHT_MIN} needed, q quits");
            return vec![self.line(vec![(text, Colour::Bad)], width)];
        }
        let mut lines: Vec<String> = self.head().into_iter().map(|spans| self.line(spans, width)).collect();
        let room = height.saturating_sub(lines.len() + 2);
        let (table, shown) = self.table(width, room);
        lines.push(String::new());
        lines.extend(table);
        lines.resize(height - 1, String::new());
        lines.push(self.line(self.foot(&shown), width));
        lines
    }

    fn head(&self) -> Vec<Spans> {
        let plain = |text: String| vec![(text, Colour::Plain)];
        let Some(latest) = &self.latest else {
            return match &self.trouble {
                Some(_) => self.troubles(None),
                None => vec![plain("asking the daemon".to_owned())],
            };
        };
        let status = &latest.status;
        let cluster = match &status.cluster_id {
            None => String::new(),
            Some(id) if *id == status.router_id => "  reflector".to_owned(),
            Some(id) => format!("  cluster {id}"),
        };
        let ready = match status.ready {
            true => ("ready".to_owned(), Colour::Good),
            false => ("not ready".to_owned(), Colour::Pending),
        };
        let time = wall_clock::text(latest.time);
        let mut lines = vec![vec![
            (format!("AS {}  router id {}{cluster}  ", status.asn, status.router_id), Colour::Title),
            (format!("up {}  ", age(status.uptime_secs)), Colour::Plain),
            ready,
            (format!("  {}", time.get(11..19).unwrap_or_default()), Colour::Plain),
        ]];
        lines.push(sessions(status));
        lines.extend(routes(status).into_iter().map(plain));
        lines.push(plain(self.load(latest)));
        lines.push(kernel(status.fib.as_ref()));
        if let Some(datastore) = &status.datastore {
            let (state, colour) = match datastore.up {
                true => ("followed", Colour::Good),
                false => ("not reached, what it held last is in force", Colour::Bad),
            };
            let revision = (format!(", revision {}", datastore.revision), Colour::Plain);
            lines.push(vec![titled("datastore"), (state.to_owned(), colour), revision]);
        }
        lines.extend(self.troubles(Some(latest)));
        lines
    }

    /// Why there is nothing newer, if so.
    fn troubles(&self, latest: Option<&Snapshot>) -> Vec<Spans> {
        let Some(why) = &self.trouble else { return Vec::new() };
        let secs = latest.map(|latest| now().saturating_duration_since(latest.at).as_secs());
        let ago = secs.map_or_else(String::new, |secs| format!("; this is from {} ago", age(secs)));
        let title = format!("the daemon does not answer, trying again{ago}");
        vec![vec![(title, Colour::Bad)], vec![(why.clone(), Colour::Bad)]]
    }

    fn load(&self, latest: &Snapshot) -> String {
        let updates = match self.rates.as_ref().map(total) {
            Some(Rate { received, sent }) => {
                format!("{}/s in, {}/s out", per_second(received), per_second(sent))
            }
            None => "…".to_owned(),
        };
        let octets = |octets: Option<u64>| octets.map_or_else(|| "?".to_owned(), amount);
        let (tables, process) = (octets(latest.memory.tables), octets(latest.memory.process));
        format!("{}{updates}     memory {process}, of it tables {tables}", titled("updates").0)
    }

    /// As many neighbours as there is room for, under titles; and which these are.
    fn table(&self, width: usize, room: usize) -> (Vec<String>, Shown) {
        let neighbors = self.latest.as_ref().map_or(&[][..], |latest| &latest.neighbors);
        let mut rows: Vec<(String, &NeighborView)> =
            addresses(neighbors).into_iter().zip(neighbors).collect();
        let busy = |neighbor: &NeighborView| {
            let rate = self.rate(neighbor).unwrap_or_default();
            (rate.received + rate.sent) as u64
        };
        match self.sort {
            Sort::State => rows.sort_by_key(|(_, neighbor)| {
                (neighbor.state == "Established", std::cmp::Reverse(busy(neighbor)))
            }),
            Sort::Updates => rows.sort_by_key(|(_, neighbor)| std::cmp::Reverse(busy(neighbor))),
            Sort::Address => {}
        }
        let room = room.saturating_sub(1);
        let first = self.scrolled.min(rows.len().saturating_sub(room));
        let mut table = Table::new(vec![
            ("NEIGHBOR", Align::Left),
            ("STATE", Align::Left),
            ("SINCE", Align::Right),
            ("RECV", Align::Right),
            ("ADV", Align::Right),
            ("IN/s", Align::Right),
            ("OUT/s", Align::Right),
            ("NOTE", Align::Left),
        ])
        .fitting(width);
        let shown = rows.iter().skip(first).take(room);
        let count = shown.len();
        for (called, neighbor) in shown {
            let plain = |text: String| (text, Colour::Plain);
            let rate = self.rate(neighbor);
            let rate =
                |of: fn(Rate) -> f64| plain(rate.map_or_else(String::new, |rate| per_second(of(rate))));
            let name = if neighbor.name.is_empty() { called } else { &neighbor.name };
            table.row(vec![
                plain(name.clone()),
                (neighbor.state.clone(), state_colour(&neighbor.state)),
                plain(age(neighbor.uptime_secs)),
                plain(prefix_total(neighbor, |counts| counts.received).to_string()),
                plain(prefix_total(neighbor, |counts| counts.advertised).to_string()),
                rate(|rate| rate.received),
                rate(|rate| rate.sent),
                plain(note(neighbor)),
            ]);
        }
        let lines = table.render(self.colours).lines().map(str::to_owned).collect();
        (lines, Shown { first, count, all: rows.len() })
    }

    fn rate(&self, neighbor: &NeighborView) -> Option<Rate> {
        self.rates.as_ref()?.get(&id_of(neighbor)).copied()
    }

    fn foot(&self, shown: &Shown) -> Spans {
        let Shown { first, count, all } = *shown;
        let which = match count {
            0 => "no neighbours".to_owned(),
            _ => format!("{} to {} of {all}", first + 1, first + count),
        };
        let sort = self.sort.name();
        vec![(format!("q quit   arrows scroll   s sort (by {sort})   {which}"), Colour::Title)]
    }

    /// Cut at the width.
    fn line(&self, spans: Spans, width: usize) -> String {
        let mut room = width;
        let mut line = String::new();
        for (text, colour) in spans {
            let text: String = text.chars().take(room).collect();
            room -= text.chars().count();
            line.push_str(&paint(&text, colour, self.colours));
        }
        line
    }
}

/// Which neighbours.
struct Shown {
    first: usize,
    count: usize,
    all: usize,
}

fn titled(title: &str) -> (String, Colour) {
    (format!("{title:<11}"), Colour::Plain)
}

fn sessions(status: &StatusView) -> Spans {
    let there = status.sessions.iter().filter(|(_, count)| **count > 0);
    let mut spans = vec![titled("sessions")];
    for (index, (state, count)) in there.enumerate() {
        let comma = if index > 0 { ", " } else { "" };
        spans.push((format!("{comma}{count} {state}"), state_colour(state)));
    }
    if spans.len() == 1 {
        spans.push(("none".to_owned(), Colour::Plain));
    }
    spans
}

fn routes(status: &StatusView) -> Vec<String> {
    let families: BTreeSet<&String> = status.paths.keys().chain(status.routes.keys()).collect();
    let lines = families.into_iter().map(|family| {
        let of = |counts: &std::collections::BTreeMap<String, usize>| {
            counts.get(family).copied().unwrap_or_default()
        };
        format!("{:<13}{} best of {} paths", family, of(&status.routes), of(&status.paths))
    });
    lines.collect()
}

fn kernel(fib: Option<&FibView>) -> Spans {
    let title = titled("kernel");
    let Some(fib) = fib else { return vec![title, ("routes stay out of it".to_owned(), Colour::Plain)] };
    let behind = fib.desired.abs_diff(fib.installed);
    let state = match fib.in_sync {
        true => ("in sync".to_owned(), Colour::Good),
        false => {
            let text = format!("{behind} behind, {} refused ({} in conflict)", fib.pending, fib.conflicts);
            (text, Colour::Bad)
        }
    };
    vec![title, (format!("{} of {} routes, ", fib.installed, fib.desired), Colour::Plain), state]
}

fn per_second(rate: f64) -> String {
    if rate > 0.0 && rate < 10.0 { format!("{rate:.1}") } else { format!("{rate:.0}") }
}

fn amount(octets: u64) -> String {
    let (value, unit) =
        if octets < 1 << 20 { (octets as f64 / 1024.0, "KiB") } else { (octets as f64 / 1_048_576.0, "MiB") };
    format!("{value:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::cli::top::snapshot::Memory;
    use crate::view::PrefixCounts;
    use std::time::{Duration, SystemTime};

    fn neighbor(number: usize, state: &str, updates: u64) -> NeighborView {
        NeighborView {
            address: format!("10.0.0.{number}"),
            name: format!("10.0.0.{number}"),
            state: state.to_owned(),
            uptime_secs: 192,
            prefixes: [(
                "ipv4-unicast".to_owned(),
                PrefixCounts { received: 10, accepted: 9, advertised: 8 },
            )]
            .into(),
            messages_received: [("update".to_owned(), updates)].into(),
            last_error: (state != "Established").then(|| "connection: refused".to_owned()),
            ..NeighborView::default()
        }
    }

    fn snapshot(secs: u64, neighbors: Vec<NeighborView>) -> Snapshot {
        let status = StatusView {
            asn: 64512,
            router_id: "10.0.0.1".to_owned(),
            cluster_id: Some("10.0.0.1".to_owned()),
            uptime_secs: 3700,
            sessions: [("Established".to_owned(), 2), ("Active".to_owned(), 1), ("Idle".to_owned(), 0)]
                .into(),
            routes: [("ipv4-unicast".to_owned(), 12)].into(),
            paths: [("ipv4-unicast".to_owned(), 40), ("ipv6-unicast".to_owned(), 0)].into(),
            ready: true,
            fib: Some(FibView { desired: 12, installed: 9, pending: 2, conflicts: 1, ..FibView::default() }),
            ..StatusView::default()
        };
        Snapshot {
            at: now() + Duration::from_secs(secs),
            time: SystemTime::UNIX_EPOCH + Duration::from_secs(1_772_323_205),
            status,
            neighbors,
            memory: Memory { tables: Some(3 << 20), process: Some(20 << 20) },
        }
    }

    fn screen(count: usize) -> Screen {
        let neighbors = |updates| {
            let mut neighbors = vec![neighbor(2, "Established", 0), neighbor(3, "Established", updates)];
            neighbors.extend((4..2 + count).map(|number| neighbor(number, "Active", 0)));
            neighbors
        };
        let mut screen = Screen::new(false);
        screen.update(snapshot(0, neighbors(0)));
        screen.update(snapshot(1, neighbors(100)));
        screen
    }

    #[tokio::test(start_paused = true)]
    async fn one_screen_shows_it_all() {
        let lines = screen(3).lines(80, 24);
        assert_eq!(
            lines[..12],
            [
                "AS 64512  router id 10.0.0.1  reflector  up 1h01m  ready  00:00:05",
                "sessions   1 Active, 2 Established",
                "ipv4-unicast 12 best of 40 paths",
                "ipv6-unicast 0 best of 0 paths",
                "updates    100/s in, 0/s out     memory 20.0 MiB, of it tables 3.0 MiB",
                "kernel     9 of 12 routes, 3 behind, 2 refused (1 in conflict)",
                "",
                "NEIGHBOR  STATE        SINCE  RECV  ADV  IN/s  OUT/s  NOTE",
                "10.0.0.4  Active       3m12s    10    8     0      0  connection: refused",
                "10.0.0.3  Established  3m12s    10    8   100      0",
                "10.0.0.2  Established  3m12s    10    8     0      0",
                "",
            ]
        );
        assert_eq!(lines.len(), 24);
        assert_eq!(lines[23], "q quit   arrows scroll   s sort (by state)   1 to 3 of 3");
    }

    #[tokio::test(start_paused = true)]
    async fn many_neighbours_are_scrolled_through_and_sorted() {
        let mut screen = screen(200);
        let foot = |screen: &Screen| screen.lines(80, 24).pop().unwrap();
        assert!(foot(&screen).ends_with("1 to 15 of 200"), "{}", foot(&screen));
        screen.scroll(10);
        assert!(foot(&screen).ends_with("11 to 25 of 200"), "{}", foot(&screen));
        screen.scroll(1000);
        assert!(foot(&screen).ends_with("186 to 200 of 200"), "{}", foot(&screen));
        screen.sort_by_next();
        let lines = screen.lines(80, 24);
        assert!(lines[8].starts_with("10.0.0.3 "), "{lines:#?}");
        assert!(foot(&screen).contains("by updates"));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_wider_or_longer_than_the_terminal() {
        for (width, height) in [(60, 12), (78, 14), (80, 24), (100, 30), (250, 60), (20, 5), (1, 1)] {
            for count in [2, 300] {
                let mut screen = screen(count);
                screen.trouble("cannot reach the daemon at /run/bgp/admin.sock: ".repeat(9));
                let lines = screen.lines(width, height);
                assert!(lines.len() <= height, "{width}x{height}");
                let widest = lines.iter().map(|line| line.chars().count()).max().unwrap_or_default();
                assert!(widest <= width, "{width}x{height}: {lines:#?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_daemon_that_is_gone_is_said_and_what_was_seen_last_stays() {
        let mut screen = Screen::new(false);
        assert_eq!(screen.lines(80, 24)[0], "asking the daemon");
        screen.trouble("cannot reach the daemon".to_owned());
        assert_eq!(
            screen.lines(80, 24)[..2],
            ["the daemon does not answer, trying again", "cannot reach the daemon"]
        );
        screen.update(snapshot(0, vec![neighbor(2, "Established", 0)]));
        tokio::time::advance(Duration::from_secs(70)).await;
        screen.trouble("cannot reach the daemon".to_owned());
        let lines = screen.lines(80, 24);
        assert_eq!(
            lines[6..8],
            ["the daemon does not answer, trying again; this is from 1m10s ago", "cannot reach the daemon"]
        );
        assert!(lines.iter().any(|line| line.starts_with("10.0.0.2  Established")), "{lines:#?}");
    }
}
