//! `[etcd]`: what the datastore says, on top of what the file says.
//!
//! The file gives the base; the datastore's model makes the desired state of it. A daemon with a datastore starts its
//! speaker once it knows a whole desired state: from the datastore, or, where that cannot be reached, from the last data
//! on disk, and from whatever the model is read from beside it. Anything less would look like a cluster without nodes.
//!
//! ```text
//!  etcd -> cache --.
//!  Kubernetes -----+-> Sources -> News -> Model -> desired state
//!  status files ---'
//! ```

mod model;
mod sources;
mod state;
#[cfg(test)]
mod tests;

pub(crate) use model::{Model, ModelError};
pub(crate) use sources::Sources;
pub(crate) use state::DatastoreState;
#[cfg(test)]
pub(crate) use state::Problems;

use super::file::{EtcdModel, EtcdSection};
use crate::cluster::Update;
use crate::cluster::etcd::EtcdOptions;
use crate::cluster::folder::FolderNews;
use crate::cluster::kubernetes::SourceNews;

/// News from one of the sources of a model.
#[derive(Debug)]
pub(crate) enum News {
    Datastore(Update),
    /// `Err`: why they cannot be read.
    Kubernetes(Result<SourceNews, String>),
    EndpointStatus(FolderNews),
}

impl EtcdSection {
    /// How its servers are reached.
    pub(crate) fn options(&self) -> EtcdOptions {
        let mut options = EtcdOptions::new(self.endpoints.clone());
        options.ca_file.clone_from(&self.ca_file);
        options.identity_files = self.cert_file.clone().zip(self.key_file.clone());
        options.user = self.username.clone().zip(self.password.clone());
        options
    }
}

impl EtcdModel {
    /// As the file says it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            EtcdModel::Calico => "calico",
            EtcdModel::Registry => "registry",
        }
    }
}
