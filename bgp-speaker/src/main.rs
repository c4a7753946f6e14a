//! The node daemon: see [`bgp_speaker::daemon`].

use bgp_speaker::daemon::{self, Program};
use std::process::ExitCode;

fn main() -> ExitCode {
    daemon::main(Program::BgpSpeaker)
}
