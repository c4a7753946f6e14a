//! What both daemons share: configuration file, command line, admin API, metrics.
//!
//! ```text
//!  file -> desired -> SpeakerHandle <- admin (unix socket: everything, TCP: reads) <- cli, Prometheus, curl
//!            ^ SIGHUP, POST /v1/reload      ^       `- metrics, status page
//!            ` cluster <- etcd, folders     `- bird_status <- calicoctl, birdc
//! ```
//!
//! Everything here uses the library's public handle. What does not belong here: anything that an embedded speaker
//! would miss.

mod admin;
mod advice;
mod allocator;
mod bird_status;
mod cli;
mod cluster;
mod desired;
mod events;
mod file;
mod handover;
mod human;
mod metrics;
mod run;
mod unix_socket;
mod wall_clock;

use std::process::ExitCode;

/// Which daemon this is. They differ in their defaults only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// The node daemon.
    BgpSpeaker,
    /// The dedicated reflector: reflects without being told to.
    RouteReflector,
}

impl Program {
    /// The name of the command.
    pub fn name(self) -> &'static str {
        match self {
            Program::BgpSpeaker => "bgp-speaker",
            Program::RouteReflector => "route-reflector",
        }
    }
}

/// The whole program: reads the command line and does what it says. Exit codes: 0 done, 1 failed, 2 usage or
/// invalid input.
pub fn main(program: Program) -> ExitCode {
    cli::main(program)
}
