//! The admin API: HTTP on a unix socket with full control, and on TCP for reading.
//!
//! Answers are JSON but for `/metrics`, the two probes and the status page. Errors are
//! `{"error": "what happened, and what to do"}` with a fitting status code.

mod answer;
mod events;
mod malformed;
mod page;
mod reads;
mod server;
#[cfg(test)]
mod tests;
mod writes;

pub(crate) use malformed::MalformedAnswer;
pub(crate) use reads::RoutesAnswer;
pub(crate) use server::AdminServer;

use super::Program;
use super::desired::Desired;
use super::events::EventHub;
use crate::speaker::SpeakerHandle;
use answer::ApiError;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::Method;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use std::sync::Arc;
use tokio::sync::{Mutex, mpsc, oneshot};

/// Longest request body, in bytes: a configuration file with tens of thousands of neighbours.
const BODY_BYTES_MAX: usize = 16 << 20;

/// What every request can reach. One per daemon.
pub(crate) struct Admin {
    /// Which daemon this is.
    pub(crate) program: Program,
    /// The speaker.
    pub(crate) handle: SpeakerHandle,
    /// All changes go through this.
    pub(crate) desired: Mutex<Desired>,
    /// Asks the daemon to leave; it answers once it has.
    pub(crate) drain: mpsc::Sender<oneshot::Sender<()>>,
    /// What happens, for whoever follows it.
    pub(crate) events: Arc<EventHub>,
    /// Metrics per neighbour too.
    pub(crate) per_neighbor_metrics: bool,
}

/// What the TCP listener serves.
fn read_only(admin: Arc<Admin>) -> Router {
    with_fallbacks(reads()).layer(middleware::from_fn(refuse_writes)).with_state(admin)
}

/// What the unix socket serves.
fn full_control(admin: Arc<Admin>) -> Router {
    let router = reads()
        .route("/v1/plan", post(writes::plan))
        .route("/v1/neighbors/{address}/{action}", post(writes::neighbor_action))
        .route("/v1/announcements/{*prefix}", put(writes::announce).delete(writes::withdraw))
        .route("/v1/drain", post(writes::drain))
        .route("/v1/reload", post(writes::reload));
    with_fallbacks(router).layer(DefaultBodyLimit::max(BODY_BYTES_MAX)).with_state(admin)
}

fn reads() -> Router<Arc<Admin>> {
    Router::new()
        .route("/", get(page::status_page))
        .route("/healthz", get(reads::healthz))
        .route("/readyz", get(reads::readyz))
        .route("/metrics", get(reads::metrics))
        .route("/v1/status", get(reads::status))
        .route("/v1/neighbors", get(reads::neighbors))
        .route("/v1/neighbors/{address}", get(reads::neighbor))
        .route("/v1/routes", get(reads::routes))
        .route("/v1/explain", get(reads::explain))
        .route("/v1/fib", get(reads::fib))
        .route("/v1/nodes", get(reads::nodes))
        .route("/v1/plan", get(reads::plan))
        .route("/v1/malformed", get(malformed::malformed))
        .route("/v1/events", get(events::events))
}

/// What is served before there is a speaker: the daemon is alive, and that is all.
fn waiting(what: &'static str) -> Router {
    let answer = move || async move { ApiError::waiting(what) };
    Router::new().route("/healthz", get(|| async { "ok\n" })).fallback(answer)
}

/// Errors outside of any endpoint are JSON too. Reaches only routes that are there already.
fn with_fallbacks(router: Router<Arc<Admin>>) -> Router<Arc<Admin>> {
    router
        .fallback(|| async { ApiError::not_found("there is no such endpoint") })
        .method_not_allowed_fallback(|| async { ApiError::wrong_method() })
}

/// TCP has no file permissions, so it changes nothing, whoever asks.
async fn refuse_writes(request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        next.run(request).await
    } else {
        ApiError::read_only().into_response()
    }
}
