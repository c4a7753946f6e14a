//! EndpointSlices: which nodes have ready endpoints of a service.

use crate::cluster::field::{Field, Findings};
use serde::Deserialize;
use std::collections::BTreeSet;

/// One EndpointSlice, reduced to where its ready endpoints are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSlice {
    /// The service that it belongs to, in the same namespace.
    pub service: String,
    /// `Some(true)`: IPv4, `Some(false)`: IPv6; `None`: names.
    pub is_ipv4: Option<bool>,
    /// There is a ready endpoint.
    pub has_ready: bool,
    /// Nodes with a ready endpoint.
    pub ready_nodes: BTreeSet<Box<str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    metadata: Metadata,
    #[serde(default)]
    address_type: Field<String>,
    #[serde(default)]
    endpoints: Field<Vec<Field<Endpoint>>>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    labels: Labels,
}

#[derive(Default, Deserialize)]
struct Labels {
    #[serde(rename = "kubernetes.io/service-name")]
    service: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Endpoint {
    node_name: Option<Box<str>>,
    conditions: Option<Conditions>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Conditions {
    ready: Option<bool>,
}

impl EndpointSlice {
    pub(super) fn read(json: &[u8], findings: &mut Findings) -> Result<Self, String> {
        let object: Object = serde_json::from_slice(json).map_err(|error| format!("unreadable: {error}"))?;
        let endpoints = findings.take_list("endpoints", object.endpoints);
        // Ready, unless it says that it is not.
        let is_ready =
            |endpoint: &Endpoint| endpoint.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true);
        let ready: Vec<Endpoint> = endpoints.into_iter().filter(is_ready).collect();
        let address_type = findings.take("addressType", object.address_type);
        Ok(Self {
            service: object.metadata.labels.service.unwrap_or_default(),
            is_ipv4: match address_type.as_deref() {
                Some("IPv4") => Some(true),
                Some("IPv6") => Some(false),
                _ => None,
            },
            has_ready: !ready.is_empty(),
            ready_nodes: ready.into_iter().filter_map(|endpoint| endpoint.node_name).collect(),
        })
    }
}
