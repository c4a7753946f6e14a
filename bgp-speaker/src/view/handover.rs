//! Make before break: what stays although the desired state is another one already.

use serde::{Deserialize, Serialize};

/// Sessions that stay until others have taken their place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandoverView {
    /// Which ones, by address and port.
    pub sessions: Vec<HeldSession>,
    /// After so many seconds all of them are as desired, whatever has become of the others.
    pub at_most_secs: u64,
    /// What is waited for.
    pub waits_for: Vec<String>,
}

/// A session that stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldSession {
    /// The neighbour: its address, with the port if that is not 179.
    pub neighbor: String,
    /// Its name.
    pub name: String,
    /// `leaving`: it is to go. `client`: it is to be a client of our reflection no more.
    pub role: String,
}
