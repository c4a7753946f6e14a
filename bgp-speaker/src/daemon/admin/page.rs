//! The status page: one self-contained HTML document, for a browser on a bad day.

use super::Admin;
use super::answer::ApiError;
use crate::daemon::human::{Colour, age, state_colour};
use crate::view::{FibView, NeighborView, StatusView};
use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use std::fmt::Write as _;
use std::sync::Arc;

/// More neighbours than this are counted but not listed.
const NEIGHBORS_SHOWN_MAX: usize = 500;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:70em;padding:0 1em}\
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.25em .75em .25em 0;\
border-bottom:1px solid #8884}td.n,th.n{text-align:right}.good{color:#080}.bad{color:#c00}.pending{color:#a60}\
@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}.good{color:#5c5}.bad{color:#f77}\
.pending{color:#fb5}}";

pub(super) async fn status_page(State(admin): State<Arc<Admin>>) -> Result<Response, ApiError> {
    let status = admin.handle.status().await?;
    let mut neighbors = admin.handle.neighbors().await?;
    // Those that need attention first.
    neighbors.sort_by_key(|neighbor| neighbor.state == "Established");
    let html = render(admin.program.name(), &status, &neighbors);
    let policy = "default-src 'none'; style-src 'unsafe-inline'";
    Ok(([(header::CONTENT_SECURITY_POLICY, policy)], Html(html)).into_response())
}

fn render(program: &str, status: &StatusView, neighbors: &[NeighborView]) -> String {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"5\">\
         <title>{program} {router_id}</title><style>{STYLE}</style><h1>{program}</h1>\
         <p>AS {asn}, router id {router_id}{cluster}, up {up}, {ready}.</p>",
        program = escape(program),
        router_id = escape(&status.router_id),
        asn = status.asn,
        cluster = status.cluster_id.as_ref().map_or(String::new(), |id| format!(", cluster {}", escape(id))),
        up = age(status.uptime_secs),
        ready = if status.ready { "ready" } else { "waiting for the first routes of all neighbours" },
    );
    // Writing to a String cannot fail.
    for (family, best) in &status.routes {
        let paths = status.paths.get(family).copied().unwrap_or_default();
        let _ = write!(page, "<p>{}: {best} best routes of {paths} paths.</p>", escape(family));
    }
    if let Some(fib) = &status.fib {
        page.push_str(&fib_line(fib));
    }
    page.push_str(
        "<table><tr><th>Neighbour<th>AS<th>Role<th>State<th>Since<th class=n>Received<th class=n>Accepted\
         <th class=n>Advertised<th>Last error</tr>",
    );
    for neighbor in neighbors.iter().take(NEIGHBORS_SHOWN_MAX) {
        page.push_str(&neighbor_row(neighbor));
    }
    page.push_str("</table>");
    if neighbors.len() > NEIGHBORS_SHOWN_MAX {
        let more = neighbors.len() - NEIGHBORS_SHOWN_MAX;
        let _ = write!(page, "<p>And {more} more; see /v1/neighbors.</p>");
    }
    page.push_str("</html>\n");
    page
}

fn fib_line(fib: &FibView) -> String {
    let class = if fib.in_sync { "good" } else { "bad" };
    let state = if fib.in_sync { "in sync" } else { "not in sync" };
    let error = fib.last_error.as_ref().map_or(String::new(), |error| format!(" ({})", escape(error)));
    format!(
        "<p>Kernel: {} of {} routes installed, <span class={class}>{state}</span>{error}.</p>",
        fib.installed, fib.desired
    )
}

fn neighbor_row(neighbor: &NeighborView) -> String {
    let class = match state_colour(&neighbor.state) {
        Colour::Good => "good",
        Colour::Bad => "bad",
        Colour::Pending | Colour::Plain | Colour::Title => "pending",
    };
    let sum =
        |count: fn(&crate::view::PrefixCounts) -> u64| neighbor.prefixes.values().map(count).sum::<u64>();
    format!(
        "<tr><td>{name}<td>{asn}<td>{role}<td class={class}>{state}<td>{since}<td class=n>{received}\
         <td class=n>{accepted}<td class=n>{advertised}<td>{error}</tr>",
        name = escape(&neighbor.name),
        asn = neighbor.remote_as,
        role = escape(&neighbor.role),
        state = escape(&neighbor.state),
        since = age(neighbor.uptime_secs),
        received = sum(|counts| counts.received),
        accepted = sum(|counts| counts.accepted),
        advertised = sum(|counts| counts.advertised),
        error = escape(neighbor.last_error.as_deref().unwrap_or("")),
    )
}

/// Names and errors come from files and peers.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_peers_say_cannot_become_markup() {
        let neighbor = NeighborView {
            name: "<script>".to_owned(),
            state: "Active".to_owned(),
            last_error: Some("\"a\" & 'b'".to_owned()),
            ..NeighborView::default()
        };
        let page = render("bgp-speaker", &StatusView::default(), &[neighbor]);
        assert!(page.contains("<td>&lt;script&gt;<td>"));
        assert!(page.contains("&quot;a&quot; &amp; &#39;b&#39;"));
        assert!(!page.contains("<script>"));
    }

    #[test]
    fn a_long_list_is_cut_and_counted() {
        let neighbors = vec![NeighborView::default(); NEIGHBORS_SHOWN_MAX + 7];
        let page = render("bgp-speaker", &StatusView::default(), &neighbors);
        assert_eq!(page.matches("<tr><td>").count(), NEIGHBORS_SHOWN_MAX);
        assert!(page.contains("And 7 more"));
    }
}
