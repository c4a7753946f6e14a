//! Resources that say something about the whole cluster.

use super::{ProgramClusterRoutes, spec};
use crate::cluster::field::{Field, Findings};
use serde::Deserialize;

/// FelixConfiguration, as far as it couples with routing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FelixConfiguration {
    /// Whose routes Felix writes. `None`: `EnabledIPIPOnly`.
    pub program_cluster_routes: Option<ProgramClusterRoutes>,
}

/// ClusterInformation `default`, as far as it is told to operators.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterInformation {
    /// Calico's version.
    pub calico_version: Option<String>,
    /// `false`: somebody works on the datastore.
    pub is_datastore_ready: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct FelixSpec {
    program_cluster_routes: Field<ProgramClusterRoutes>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ClusterSpec {
    calico_version: Field<String>,
    datastore_ready: Field<bool>,
}

impl FelixConfiguration {
    pub(in crate::cluster::calico) fn read(json: &[u8], findings: &mut Findings) -> Result<Self, String> {
        let spec: FelixSpec = spec(json)?;
        let program_cluster_routes = findings.take("spec.programClusterRoutes", spec.program_cluster_routes);
        Ok(Self { program_cluster_routes })
    }
}

impl ClusterInformation {
    pub(in crate::cluster::calico) fn read(json: &[u8], findings: &mut Findings) -> Result<Self, String> {
        let spec: ClusterSpec = spec(json)?;
        Ok(Self {
            calico_version: findings.take("spec.calicoVersion", spec.calico_version),
            is_datastore_ready: findings.take("spec.datastoreReady", spec.datastore_ready),
        })
    }
}
