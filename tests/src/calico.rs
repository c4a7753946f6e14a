//! A Calico cluster without Calico: what `calicoctl` and Calico's IPAM write into etcd, nodes with pods as Calico's
//! plug-in sets them up, and BIRD configured as Calico configures it.
//!
//! [`CalicoData`] is what the cluster was told to be, and so also what every kernel must hold: the expectation comes
//! from here, not from the code under test. [`Stage`] has the nodes, and checks.

mod bird;
mod data;
mod stage;

pub use bird::{BirdSession, CalicoBird};
pub use data::{CalicoData, CalicoNode, Change, POOL_V4, POOL_V6, resource, resource_key};
pub use stage::{Runs, Stage, node_file};
