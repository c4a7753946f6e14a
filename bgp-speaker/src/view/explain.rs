//! Why a prefix is where it is: `explain`.

use super::RouteView;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// All about one prefix: its paths, whom it is told, and what the kernel does with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainView {
    /// The prefix.
    pub prefix: IpNet,
    /// Its paths, the best first. Paths that import policy or a loop keeps out are not kept, and hence not here.
    pub paths: Vec<ExplainedPath>,
    /// The best path is not selected yet, because neighbours are waited for.
    pub is_undecided: bool,
    /// What neighbours are told, those together that fare alike.
    pub exports: Vec<ExplainedExport>,
    /// What the kernel does with it and why, in words. Empty: there is no route for the kernel.
    pub kernel: Vec<String>,
}

/// One path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainedPath {
    /// Itself.
    #[serde(flatten)]
    pub route: RouteView,
    /// Of the best path: what set it apart from the last of the others. Of another: what it lost by.
    pub because: String,
}

/// How the best path fares towards neighbours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainedExport {
    /// Their addresses.
    pub neighbors: Vec<String>,
    /// They are told.
    pub is_advertised: bool,
    /// The next hop that they are told.
    pub next_hop: Option<String>,
    /// Under which path identifiers, with ADD-PATH.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path_ids: Vec<u32>,
    /// Why, or why not.
    pub because: String,
    /// The filter rules that matched, as `filter NAME rule N`, from 1.
    pub matched: Vec<String>,
}
