//! The dedicated route reflector: a speaker with the defaults of a reflector. See [`bgp_speaker::daemon`].

use bgp_speaker::daemon::{self, Program};
use std::process::ExitCode;

fn main() -> ExitCode {
    daemon::main(Program::RouteReflector)
}
