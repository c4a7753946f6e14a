//! Endpoints that change something, and the dry run: on the unix socket only.

use super::Admin;
use super::answer::ApiError;
use super::reads::neighbor_ref;
use crate::config::{Announcement, AnnouncementKind};
use crate::daemon::desired::DesiredError;
use crate::daemon::desired::Reloaded;
use crate::daemon::file::prefix_from_text;
use crate::view::PlanView;
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use bgp_proto::{Community, LargeCommunity};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::sync::oneshot;

/// The body of `PUT /v1/announcements/{prefix}`. An empty body announces a plain route.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct AnnouncementBody {
    /// A block of pods: a blackhole in the kernel too.
    block: bool,
    med: Option<u32>,
    local_pref: Option<u32>,
    communities: Vec<Community>,
    large_communities: Vec<LargeCommunity>,
}

impl AnnouncementBody {
    fn into_announcement(self, prefix: IpNet) -> Announcement {
        let mut announcement =
            if self.block { Announcement::block(prefix) } else { Announcement::route(prefix) };
        announcement.med = self.med;
        announcement.local_pref = self.local_pref;
        announcement.communities = self.communities;
        announcement.large_communities = self.large_communities;
        announcement
    }
}

/// What became of a prefix.
#[derive(Debug, Serialize)]
pub(super) struct Changed {
    prefix: IpNet,
    announced: bool,
}

/// `POST /v1/neighbors/{address}/{reset|refresh|enable|disable}`
pub(super) async fn neighbor_action(
    State(admin): State<Arc<Admin>>,
    Path((address, action)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let wanted = neighbor_ref(&address)?;
    match action.as_str() {
        "reset" => admin.handle.reset(wanted).await?,
        "refresh" => admin.handle.refresh(wanted).await?,
        "enable" | "disable" => {
            let enabled = action == "enable";
            to_the_end(async move { admin.desired.lock().await.set_enabled(wanted, enabled).await }).await?;
        }
        _ => return Err(ApiError::not_found("a neighbour can be: reset, refresh, enable, disable")),
    }
    tracing::info!(neighbor = %wanted, action, "neighbour changed through the admin API");
    Ok(StatusCode::NO_CONTENT)
}

/// `PUT /v1/announcements/{prefix}`
pub(super) async fn announce(
    State(admin): State<Arc<Admin>>,
    Path(prefix): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Changed>, ApiError> {
    let prefix = announced_prefix(&prefix)?;
    let body = body?;
    let body: AnnouncementBody = if body.is_empty() {
        AnnouncementBody::default()
    } else {
        serde_json::from_slice(&body).map_err(|error| ApiError::bad_request(format!("the body: {error}")))?
    };
    let announcement = body.into_announcement(prefix);
    let is_block = announcement.kind == AnnouncementKind::Block;
    to_the_end(async move { admin.desired.lock().await.announce(announcement).await }).await?;
    tracing::info!(%prefix, is_block, "announced through the admin API");
    Ok(Json(Changed { prefix, announced: true }))
}

/// `DELETE /v1/announcements/{prefix}`
pub(super) async fn withdraw(
    State(admin): State<Arc<Admin>>,
    Path(prefix): Path<String>,
) -> Result<Json<Changed>, ApiError> {
    let prefix = announced_prefix(&prefix)?;
    if !to_the_end(async move { admin.desired.lock().await.withdraw(prefix).await }).await? {
        return Err(ApiError::not_found(format!("{prefix} is not announced")));
    }
    tracing::info!(%prefix, "withdrawn through the admin API");
    Ok(Json(Changed { prefix, announced: false }))
}

/// `POST /v1/reload`
pub(super) async fn reload(State(admin): State<Arc<Admin>>) -> Result<Json<Reloaded>, ApiError> {
    let reloaded = to_the_end(async move { admin.desired.lock().await.reload().await }).await?;
    reloaded.log();
    Ok(Json(reloaded))
}

/// Runs a change to its end although the client may hang up, which would drop it between what the speaker does and what
/// is remembered of it.
async fn to_the_end<T: Send + 'static>(
    change: impl Future<Output = Result<T, DesiredError>> + Send + 'static,
) -> Result<T, ApiError> {
    match tokio::spawn(change).await {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Err(ApiError::stopped()),
    }
}

/// `?file=` names the text of the body in messages, and relative paths in it start there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlanParams {
    #[serde(default)]
    file: Option<String>,
}

/// `POST /v1/plan` with a configuration file as body: what a reload would do if it were ours.
pub(super) async fn plan(
    State(admin): State<Arc<Admin>>,
    params: Result<Query<PlanParams>, QueryRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<PlanView>, ApiError> {
    let name = params?.0.file.unwrap_or_else(|| "(request)".to_owned());
    let body = body?;
    let text = std::str::from_utf8(&body)
        .map_err(|_| ApiError::bad_request("the body must be a configuration file in UTF-8"))?;
    Ok(Json(admin.desired.lock().await.plan_text(&name, text).await?))
}

/// `POST /v1/drain`: answers once every route is withdrawn and every session closed.
pub(super) async fn drain(State(admin): State<Arc<Admin>>) -> Result<StatusCode, ApiError> {
    let (done, wait) = oneshot::channel();
    admin.drain.send(done).await.map_err(|_| ApiError::stopped())?;
    wait.await.map_err(|_| ApiError::stopped())?;
    Ok(StatusCode::NO_CONTENT)
}

fn announced_prefix(text: &str) -> Result<IpNet, ApiError> {
    prefix_from_text(text).map_err(ApiError::bad_request)
}
