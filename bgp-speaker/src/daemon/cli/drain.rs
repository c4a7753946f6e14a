//! `drain`: leave the network.

use super::output::print;
use super::{Failure, SocketArgs};

pub(super) async fn drain(args: &SocketArgs) -> Result<(), Failure> {
    args.client().command("/v1/drain").await?;
    print("drained: routes withdrawn, sessions closed, the daemon ends\n")
}
