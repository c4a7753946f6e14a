//! Notes for those who run, embed or change a speaker: what it does in the situations that matter, and why.

pub mod admin_api;
pub mod architecture;
pub mod bird_status;
pub mod calico;
pub mod changes;
pub mod datastore;
pub mod filters;
pub mod kernel_import;
pub mod operations;
pub mod restart;
