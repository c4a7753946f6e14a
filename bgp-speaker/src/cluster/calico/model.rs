//! Calico's resources as far as routing needs them: read leniently, kept small.
//!
//! Unknown fields are ignored. A field that cannot be read counts as absent and is reported; an object is given up
//! only when it is no JSON object, or lacks what makes it one. What an absent field means is the plan's business,
//! since the datastore fills in no defaults.

mod bgp_configuration;
mod bgp_filter;
mod bgp_peer;
mod cluster;
mod ip_pool;
mod ipam;
mod node;

pub use bgp_configuration::{
    BgpConfiguration, BindMode, CommunityValue, PrefixAdvertisement, ProgramClusterRoutes, SecretKeyRef,
};
pub use bgp_filter::{
    BgpFilter, BgpFilterRule, FilterAction, FilterOperation, FilterPeerType, MatchOperator,
};
pub use bgp_peer::{BgpPeer, NodeScope, PeerTarget, ReachableBy, Remote};
pub use cluster::{ClusterInformation, FelixConfiguration};
pub use ip_pool::IpPool;
pub use ipam::{AffinityState, AllocationBlock, BlockOwner, BorrowedAddress};
pub use node::Node;

use super::selector::Labels;
use crate::cluster::field::{Field, Findings};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// What every resource has around its `spec`.
#[derive(Deserialize)]
struct Envelope<S> {
    #[serde(default)]
    metadata: Metadata,
    spec: Option<S>,
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    labels: Field<BTreeMap<String, serde_json::Value>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    #[serde(rename = "podCIDRs")]
    pod_cidrs: Field<Vec<Field<super::value::Cidr>>>,
}

/// The parts of a resource. A missing `spec` is an empty one.
fn open<S: DeserializeOwned + Default>(json: &[u8]) -> Result<Envelope<S>, String> {
    let mut envelope: Envelope<S> =
        serde_json::from_slice(json).map_err(|error| format!("unreadable: {error}"))?;
    envelope.spec.get_or_insert_with(S::default);
    Ok(envelope)
}

/// The `spec` alone.
fn spec<S: DeserializeOwned + Default>(json: &[u8]) -> Result<S, String> {
    Ok(open(json)?.spec.unwrap_or_default())
}

/// Labels, whose values are text; other scalars are taken as they are written.
fn labels(metadata: Metadata, findings: &mut Findings) -> Labels {
    let labels = findings.take("metadata.labels", metadata.labels).unwrap_or_default();
    let text = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    labels.into_iter().map(|(name, value)| (name, text(value))).collect()
}
