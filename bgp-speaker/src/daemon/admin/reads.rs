//! Endpoints that change nothing.

use super::Admin;
use super::answer::ApiError;
use crate::cluster::registry::NodeRecord;
use crate::config::{NeighborError, NeighborId, NeighborRef, resolve};
use crate::daemon::file::prefix_from_text;
use crate::daemon::metrics;
use crate::view::{
    ExplainView, FibDetailsView, NeighborView, PlanView, RouteCursor, RouteQuery, RouteTable, RouteView,
    StatusView,
};
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Most routes of one answer.
const ROUTES_LIMIT_MAX: usize = 100_000;
/// Routes of an answer whose request names no limit.
const ROUTES_LIMIT_DEFAULT: usize = 1000;
/// An engine that does not answer for so long is not healthy.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);

/// Can the engine still change a route? It can if it answers, since one task does both.
pub(super) async fn healthz(State(admin): State<Arc<Admin>>) -> Response {
    match tokio::time::timeout(HEALTH_TIMEOUT, admin.handle.status()).await {
        Ok(Ok(_)) => "ok\n".into_response(),
        Ok(Err(_)) => (StatusCode::SERVICE_UNAVAILABLE, "the speaker has stopped\n").into_response(),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the engine does not answer\n").into_response(),
    }
}

/// Is the first convergence done?
pub(super) async fn readyz(State(admin): State<Arc<Admin>>) -> Result<Response, ApiError> {
    Ok(if admin.handle.status().await?.ready {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "waiting for the first routes of all neighbours\n").into_response()
    })
}

pub(super) async fn metrics(State(admin): State<Arc<Admin>>) -> Result<Response, ApiError> {
    let metrics = admin.handle.metrics().await?;
    let fib = admin.handle.status().await?.fib;
    let datastore = admin.desired.lock().await.datastore();
    let sides = metrics::Sides { fib: fib.as_ref(), datastore: datastore.as_ref() };
    let text = metrics::render(admin.program, &metrics, sides, admin.per_neighbor_metrics)
        .map_err(|error| ApiError::internal(format!("metrics: {error}")))?;
    Ok(([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response())
}

pub(super) async fn status(State(admin): State<Arc<Admin>>) -> Result<Json<StatusView>, ApiError> {
    let (datastore, handover) = {
        let mut desired = admin.desired.lock().await;
        (desired.datastore(), desired.handover())
    };
    let datastore = datastore.map(|state| state.view());
    Ok(Json(StatusView { datastore, handover, ..admin.handle.status().await? }))
}

/// The nodes that registered themselves, by name.
pub(super) async fn nodes(
    State(admin): State<Arc<Admin>>,
) -> Result<Json<BTreeMap<String, NodeRecord>>, ApiError> {
    let desired = admin.desired.lock().await;
    let nodes = desired.registered().ok_or_else(|| {
        ApiError::not_found("nodes register themselves with [etcd] model = \"registry\" only")
    })?;
    Ok(Json(nodes.clone()))
}

/// `?address=` leaves those of one address, with `ADDRESS:PORT` of one port.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NeighborsParams {
    address: Option<String>,
}

pub(super) async fn neighbors(
    State(admin): State<Arc<Admin>>,
    params: Result<Query<NeighborsParams>, QueryRejection>,
) -> Result<Json<Vec<NeighborView>>, ApiError> {
    let wanted = params?.0.address.map(|text| neighbor_ref(&text)).transpose()?;
    let mut neighbors = admin.handle.neighbors().await?;
    neighbors.retain(|neighbor| match (wanted, id_of(neighbor)) {
        (Some(wanted), Some(id)) => wanted.matches(id),
        (wanted, _) => wanted.is_none(),
    });
    Ok(Json(neighbors))
}

fn id_of(neighbor: &NeighborView) -> Option<NeighborId> {
    Some(NeighborId { address: neighbor.address.parse().ok()?, port: neighbor.port })
}

pub(super) async fn neighbor(
    State(admin): State<Arc<Admin>>,
    Path(address): Path<String>,
) -> Result<Json<NeighborView>, ApiError> {
    let wanted = neighbor_ref(&address)?;
    let neighbors = admin.handle.neighbors().await?.into_iter();
    let mut by_id: BTreeMap<NeighborId, NeighborView> =
        neighbors.filter_map(|neighbor| Some((id_of(&neighbor)?, neighbor))).collect();
    let id = resolve(&by_id, wanted)?;
    by_id.remove(&id).map(Json).ok_or_else(|| NeighborError::Unknown(wanted).into())
}

pub(super) async fn fib(State(admin): State<Arc<Admin>>) -> Json<Option<FibDetailsView>> {
    Json(admin.handle.fib().await)
}

/// What a reload would do.
pub(super) async fn plan(State(admin): State<Arc<Admin>>) -> Result<Json<PlanView>, ApiError> {
    Ok(Json(admin.desired.lock().await.plan().await?))
}

/// `?prefix=&table=best|received|advertised&neighbor=&longer=&limit=&cursor=`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RoutesParams {
    prefix: Option<String>,
    table: Option<RouteTable>,
    neighbor: Option<String>,
    longer: Option<bool>,
    limit: Option<usize>,
    cursor: Option<String>,
}

impl RoutesParams {
    fn into_query(self) -> Result<RouteQuery, ApiError> {
        let given = |text: &String| !text.is_empty();
        let prefix = self.prefix.filter(given).map(|text| prefix_from_text(&text)).transpose();
        let neighbor = self.neighbor.filter(given).map(|text| neighbor_ref(&text)).transpose()?;
        let table = self.table.unwrap_or_default();
        match (table, neighbor) {
            (RouteTable::Received | RouteTable::Advertised, None) => {
                return Err(ApiError::bad_request(
                    "tables \"received\" and \"advertised\" need neighbor=ADDRESS",
                ));
            }
            (RouteTable::All | RouteTable::Best, Some(_)) => {
                return Err(ApiError::bad_request("neighbor= goes with table=received or table=advertised"));
            }
            _ => {}
        }
        let limit = self.limit.unwrap_or(ROUTES_LIMIT_DEFAULT);
        if !(1..=ROUTES_LIMIT_MAX).contains(&limit) {
            return Err(ApiError::bad_request(format!("limit is out of range; use 1 to {ROUTES_LIMIT_MAX}")));
        }
        let after = self.cursor.filter(given).map(|text| text.parse::<RouteCursor>()).transpose();
        Ok(RouteQuery {
            prefix: prefix.map_err(|error| ApiError::bad_request(format!("prefix: {error}")))?,
            longer: self.longer.unwrap_or(false),
            table,
            neighbor,
            limit: Some(limit),
            after: after.map_err(|error| ApiError::bad_request(format!("cursor: {error}")))?,
        })
    }
}

/// Routes, and where to go on if there are more than the limit let through.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RoutesAnswer {
    pub(crate) routes: Vec<RouteView>,
    pub(crate) truncated: bool,
    /// For the next page; null on the last one. A page may be short, or even empty, and not be the last.
    #[serde(default)]
    pub(crate) cursor: Option<RouteCursor>,
}

pub(super) async fn routes(
    State(admin): State<Arc<Admin>>,
    params: Result<Query<RoutesParams>, QueryRejection>,
) -> Result<Json<RoutesAnswer>, ApiError> {
    let query = params?.0.into_query()?;
    let list = admin.handle.routes(query).await?;
    Ok(Json(RoutesAnswer { routes: list.routes, truncated: list.next.is_some(), cursor: list.next }))
}

/// `?prefix=&to=`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExplainParams {
    prefix: String,
    to: Option<String>,
}

pub(super) async fn explain(
    State(admin): State<Arc<Admin>>,
    params: Result<Query<ExplainParams>, QueryRejection>,
) -> Result<Json<ExplainView>, ApiError> {
    let params = params?.0;
    let prefix = prefix_from_text(&params.prefix)
        .map_err(|error| ApiError::bad_request(format!("prefix: {error}")))?;
    let to = params.to.filter(|text| !text.is_empty()).map(|text| neighbor_ref(&text)).transpose()?;
    Ok(Json(admin.handle.explain(prefix, to).await?))
}

/// A neighbour out of a path or query: `ADDRESS` or `ADDRESS:PORT`.
pub(super) fn neighbor_ref(text: &str) -> Result<NeighborRef, ApiError> {
    text.parse().map_err(|_| {
        ApiError::bad_request(format!("\"{}\" is not an address, nor ADDRESS:PORT", text.escape_debug()))
    })
}
