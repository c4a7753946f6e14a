//! The numbers of a speaker in Prometheus' text format.
//!
//! Every scrape fills a fresh registry from one consistent [`MetricsView`]: nothing is counted twice, nothing goes
//! stale, and two speakers in one process do not share counters.

use super::Program;
use super::cluster::DatastoreState;
use crate::view::{DurationsView, FibView, MetricsView};
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Histogram, Metric, MetricFamily, MetricType};
use prometheus::{Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};
use std::collections::HashMap;

/// Every state has a series, so that a graph of an empty one is a line at zero.
const STATES: [&str; 6] = ["Idle", "Connect", "Active", "OpenSent", "OpenConfirm", "Established"];

/// What a speaker works with, where it does.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sides<'a> {
    /// The kernel.
    pub(crate) fib: Option<&'a FibView>,
    /// The datastore.
    pub(crate) datastore: Option<&'a DatastoreState>,
}

/// The whole answer to a scrape. `per_neighbor` adds a series for each neighbour.
///
/// # Errors
/// A name or label is not one that Prometheus knows, which is a bug.
pub(crate) fn render(
    program: Program,
    metrics: &MetricsView,
    sides: Sides<'_>,
    per_neighbor: bool,
) -> prometheus::Result<String> {
    let page = Page { registry: Registry::new() };
    let version = env!("CARGO_PKG_VERSION");
    page.gauges(
        "bgp_build_info",
        "Always 1; the labels say what runs.",
        &["program", "version"],
        [(vec![program.name(), version], 1.0)],
    )?;
    page.sessions(metrics, per_neighbor)?;
    page.counters(
        "bgp_messages_total",
        "Messages on all sessions.",
        &["direction", "type"],
        pairs(&metrics.messages),
    )?;
    page.counters(
        "bgp_update_errors_total",
        "Errors in UPDATE messages (RFC 7606).",
        &["attribute", "action"],
        pairs(&metrics.update_errors),
    )?;
    page.tables(metrics)?;
    page.durations(
        "bgp_decision_seconds",
        "Batches of route selection, with the encoding of what followed.",
        &metrics.decision_seconds,
    )?;
    page.durations(
        "bgp_propagation_seconds",
        "From the reading of a batch of UPDATEs to the last write that followed.",
        &metrics.propagation_seconds,
    )?;
    if let Some(fib) = sides.fib {
        page.fib(fib)?;
    }
    if let Some(datastore) = sides.datastore {
        page.datastore(datastore)?;
    }
    TextEncoder::new().encode_to_string(&page.registry.gather())
}

/// One answer being filled.
struct Page {
    registry: Registry,
}

impl Page {
    fn datastore(&self, datastore: &DatastoreState) -> prometheus::Result<()> {
        let one = |name, help, value| self.gauges(name, help, &[], [(Vec::new(), value)]);
        let is_up = f64::from(u8::from(datastore.is_up));
        one("cluster_datastore_up", "1 while the datastore is followed.", is_up)?;
        let revision = datastore.revision as f64;
        one("cluster_revision", "The datastore's revision as of the last news.", revision)?;
        self.gauges(
            "cluster_objects_invalid",
            "What is wrong with objects of the datastore, by their kind.",
            &["kind"],
            datastore.problems.by_kind.iter().map(|(kind, count)| (vec![*kind], *count as f64)),
        )
    }

    fn sessions(&self, metrics: &MetricsView, per_neighbor: bool) -> prometheus::Result<()> {
        let others = metrics.sessions.keys().map(String::as_str).filter(|state| !STATES.contains(state));
        let states = STATES.into_iter().chain(others).map(|state| {
            let sessions = metrics.sessions.get(state).copied().unwrap_or_default();
            (vec![state], sessions as f64)
        });
        self.gauges("bgp_sessions", "Sessions by state (RFC 4271 §8.2.2).", &["state"], states)?;
        if per_neighbor {
            let up =
                metrics.session_up.iter().map(|(neighbor, up)| (vec![neighbor.as_str()], f64::from(*up)));
            self.gauges("bgp_session_up", "1 while the session is established.", &["neighbor"], up)?;
        }
        self.counters(
            "bgp_session_transitions_total",
            "Changes of session state.",
            &["to", "reason"],
            pairs(&metrics.transitions),
        )?;
        let refused = &metrics.refused_connections;
        self.counters(
            "bgp_refused_connections_total",
            "Connections from addresses that may not connect, or not now.",
            &["reason"],
            refused.iter().map(|(reason, count)| (vec![reason.as_str()], *count)),
        )?;
        self.gauge(
            "bgp_slow_sessions",
            "Sessions that read too slowly for the shared stream.",
            metrics.slow_sessions,
        )
    }

    fn tables(&self, metrics: &MetricsView) -> prometheus::Result<()> {
        let routes = metrics
            .routes
            .iter()
            .map(|(table, family, routes)| (vec![table.as_str(), family.as_str()], *routes as f64));
        self.gauges("bgp_rib_routes", "Routes by table and family.", &["table", "family"], routes)?;
        self.gauge("bgp_rib_attributes", "Distinct attribute sets.", metrics.attributes)?;
        let memory = metrics.memory_bytes.iter().map(|(part, bytes)| (vec![part.as_str()], *bytes as f64));
        self.gauges("bgp_rib_memory_bytes", "Memory of the tables by part.", &["part"], memory)?;
        self.gauge(
            "bgp_update_groups",
            "Groups of sessions that share their UPDATEs.",
            metrics.update_groups,
        )?;
        self.gauge("bgp_ready", "1 once the first convergence is done.", u64::from(metrics.ready))
    }

    fn fib(&self, fib: &FibView) -> prometheus::Result<()> {
        let states = [
            ("desired", fib.desired),
            ("installed", fib.installed),
            ("pending", fib.pending),
            ("conflict", fib.conflicts),
        ];
        let states = states.into_iter().map(|(state, routes)| (vec![state], routes as f64));
        self.gauges("fib_routes", "Routes for the kernel by state.", &["state"], states)?;
        let divergent = fib.desired.abs_diff(fib.installed);
        self.gauge(
            "fib_divergent_routes",
            "Routes that the kernel does not hold as wanted.",
            divergent as u64,
        )?;
        self.counters(
            "fib_operations_total",
            "Requests to the kernel.",
            &["op", "result"],
            pairs(&fib.operations),
        )?;
        self.durations(
            "fib_batch_seconds",
            "Batches of requests, from the first to the kernel's last answer.",
            &fib.batch_seconds,
        )?;
        let resyncs = fib.resyncs_by_reason.iter().map(|(reason, count)| (vec![reason.as_str()], *count));
        self.counters("fib_resyncs_total", "How often our routes were read back.", &["reason"], resyncs)?;
        let repaired =
            IntCounter::new("fib_repaired_total", "Routes of ours that others changed, put back.")?;
        repaired.inc_by(fib.repaired);
        self.registry.register(Box::new(repaired))
    }

    fn durations(&self, name: &str, help: &str, view: &DurationsView) -> prometheus::Result<()> {
        let desc = Desc::new(name.to_owned(), help.to_owned(), Vec::new(), HashMap::new())?;
        self.registry.register(Box::new(Counted { desc, view: view.clone() }))
    }

    fn gauge(&self, name: &str, help: &str, value: u64) -> prometheus::Result<()> {
        let gauge = IntGauge::new(name, help)?;
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        self.registry.register(Box::new(gauge))
    }

    fn gauges<'a>(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        values: impl IntoIterator<Item = (Vec<&'a str>, f64)>,
    ) -> prometheus::Result<()> {
        let gauges = GaugeVec::new(Opts::new(name, help), labels)?;
        for (labels, value) in values {
            let gauge: Gauge = gauges.get_metric_with_label_values(&labels)?;
            gauge.set(value);
        }
        self.registry.register(Box::new(gauges))
    }

    fn counters<'a>(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        values: impl IntoIterator<Item = (Vec<&'a str>, u64)>,
    ) -> prometheus::Result<()> {
        let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
        for (labels, value) in values {
            counters.get_metric_with_label_values(&labels)?.inc_by(value);
        }
        self.registry.register(Box::new(counters))
    }
}

/// A histogram that was counted elsewhere.
struct Counted {
    desc: Desc,
    view: DurationsView,
}

impl Collector for Counted {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let buckets = self.view.buckets.iter().map(|(bound, count)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(*count);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(self.view.count);
        histogram.set_sample_sum(self.view.sum_secs);
        let mut metric = Metric::default();
        metric.set_histogram(histogram);
        let mut family = MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(MetricType::HISTOGRAM);
        family.set_metric(vec![metric]);
        vec![family]
    }
}

fn pairs(counts: &[(String, String, u64)]) -> impl Iterator<Item = (Vec<&str>, u64)> {
    counts.iter().map(|(first, second, count)| (vec![first.as_str(), second.as_str()], *count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Problem;
    use crate::daemon::cluster::Problems;
    use std::sync::Arc;

    fn count(a: &str, b: &str, n: u64) -> (String, String, u64) {
        (a.to_owned(), b.to_owned(), n)
    }

    fn metrics() -> MetricsView {
        MetricsView {
            sessions: [("Established".to_owned(), 3)].into(),
            session_up: [("10.0.0.2".to_owned(), true), ("fd00::2".to_owned(), false)].into(),
            transitions: vec![count("Idle", "hold-timer", 2)],
            messages: vec![count("in", "update", 7)],
            update_errors: vec![count("origin", "treat-as-withdraw", 1)],
            routes: vec![count("loc-rib", "ipv4-unicast", 12)],
            attributes: 5,
            memory_bytes: vec![("prefixes".to_owned(), 4096)],
            update_groups: 2,
            slow_sessions: 1,
            refused_connections: [("unknown-peer".to_owned(), 4)].into(),
            ready: true,
            decision_seconds: DurationsView {
                buckets: vec![(0.001, 3), (0.01, 5)],
                count: 6,
                sum_secs: 1.25,
            },
            ..MetricsView::default()
        }
    }

    #[test]
    fn every_number_has_its_documented_name() {
        let fib = FibView {
            desired: 10,
            installed: 8,
            pending: 2,
            operations_ok: 9,
            operations: vec![count("set_route", "ok", 9), count("delete_route", "failed", 2)],
            batch_seconds: DurationsView { buckets: vec![(0.001, 3)], count: 4, sum_secs: 0.5 },
            resyncs: 1,
            resyncs_by_reason: [("overrun".to_owned(), 1), ("audit".to_owned(), 0)].into(),
            ..FibView::default()
        };
        let invalid = |(kind, key)| Problem::new(kind, key, "");
        let problems = [("BGPPeer", "a"), ("Node", "a"), ("BGPPeer", "b")].map(invalid).to_vec();
        let problems = Arc::new(Problems::new(problems));
        let datastore = DatastoreState { is_up: true, revision: 17, error: None, problems };
        let sides = Sides { fib: Some(&fib), datastore: Some(&datastore) };
        let text = render(Program::RouteReflector, &metrics(), sides, false).unwrap();
        for line in [
            concat!(
                "bgp_build_info{program=\"route-reflector\",version=\"",
                env!("CARGO_PKG_VERSION"),
                "\"} 1"
            ),
            "bgp_sessions{state=\"Established\"} 3",
            "bgp_sessions{state=\"Idle\"} 0",
            "bgp_session_transitions_total{reason=\"hold-timer\",to=\"Idle\"} 2",
            "bgp_messages_total{direction=\"in\",type=\"update\"} 7",
            "bgp_update_errors_total{action=\"treat-as-withdraw\",attribute=\"origin\"} 1",
            "bgp_rib_routes{family=\"ipv4-unicast\",table=\"loc-rib\"} 12",
            "bgp_rib_attributes 5",
            "bgp_rib_memory_bytes{part=\"prefixes\"} 4096",
            "bgp_update_groups 2",
            "bgp_slow_sessions 1",
            "bgp_ready 1",
            "bgp_decision_seconds_bucket{le=\"0.001\"} 3",
            "bgp_decision_seconds_bucket{le=\"0.01\"} 5",
            "bgp_decision_seconds_bucket{le=\"+Inf\"} 6",
            "bgp_decision_seconds_sum 1.25",
            "bgp_decision_seconds_count 6",
            "bgp_propagation_seconds_count 0",
            "fib_routes{state=\"installed\"} 8",
            "fib_divergent_routes 2",
            "fib_operations_total{op=\"set_route\",result=\"ok\"} 9",
            "fib_operations_total{op=\"delete_route\",result=\"failed\"} 2",
            "fib_batch_seconds_bucket{le=\"0.001\"} 3",
            "fib_batch_seconds_bucket{le=\"+Inf\"} 4",
            "fib_batch_seconds_sum 0.5",
            "fib_batch_seconds_count 4",
            "fib_resyncs_total{reason=\"overrun\"} 1",
            "fib_resyncs_total{reason=\"audit\"} 0",
            "bgp_refused_connections_total{reason=\"unknown-peer\"} 4",
            "fib_repaired_total 0",
            "cluster_datastore_up 1",
            "cluster_revision 17",
            "cluster_objects_invalid{kind=\"BGPPeer\"} 2",
            "cluster_objects_invalid{kind=\"Node\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing from\n{text}");
        }
        assert!(!text.contains("10.0.0.2"), "no series per neighbour unless asked for");
    }

    #[test]
    fn neighbours_have_series_only_if_asked_for() {
        let text = render(Program::BgpSpeaker, &metrics(), Sides::default(), true).unwrap();
        assert!(text.contains("bgp_session_up{neighbor=\"10.0.0.2\"} 1\n"));
        assert!(text.contains("bgp_session_up{neighbor=\"fd00::2\"} 0\n"));
        assert!(!text.contains("fib_"));
    }

    #[test]
    fn repeated_labels_add_up_instead_of_failing() {
        let mut metrics = metrics();
        metrics.messages.push(metrics.messages[0].clone());
        let text = render(Program::BgpSpeaker, &metrics, Sides::default(), false).unwrap();
        assert!(text.contains("bgp_messages_total{direction=\"in\",type=\"update\"} 14\n"));
    }
}
