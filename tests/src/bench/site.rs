//! The network of one run: a namespace in which the daemon and all clients have addresses.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use crate::error::LabError;
use crate::lab::Lab;
use crate::netns::Namespace;
use crate::raw_peer::BGP_PORT;

/// Where the daemon listens.
pub const DAEMON: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);

/// Where clients come from; all of it is local to the namespace.
pub const CLIENT_RANGE: &str = "10.99.0.0/16";

/// An interface with all next hops behind it, so that every daemon can resolve them. Nobody is at its other end.
pub const NEXT_HOP_INTERFACE: &str = "hops";

/// The address of that interface, with the range of next hops.
const NEXT_HOP_RANGE: &str = "10.98.0.1/16";

/// One namespace, made for one run and gone after it.
#[derive(Debug)]
pub struct Site {
    /// Where daemon and clients live.
    pub namespace: Namespace,
    /// Where the daemon's files are.
    pub folder: PathBuf,
    /// The addresses of the clients.
    pub clients: Vec<Ipv4Addr>,
}

impl Site {
    /// Makes the namespace, for so many clients.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn new(lab: &Lab, client_count: usize) -> Result<Site, LabError> {
        let namespace = lab.namespace("bench")?;
        namespace.ip(&format!(
            "address add {DAEMON}/32 dev lo
             route add local {CLIENT_RANGE} dev lo
             link add name {NEXT_HOP_INTERFACE} type veth peer name far-end
             link set dev far-end up
             address add {NEXT_HOP_RANGE} dev {NEXT_HOP_INTERFACE}
             link set dev {NEXT_HOP_INTERFACE} up"
        ))?;
        let folder = lab.subfolder("daemon")?;
        Ok(Site { namespace, folder, clients: (0..client_count).map(client_address).collect() })
    }

    /// Whether something listens on the BGP port.
    ///
    /// # Errors
    /// If the namespace cannot be entered.
    pub fn is_listening(&self) -> Result<bool, LabError> {
        self.namespace.run(|| {
            let port = format!(":{BGP_PORT:04X}");
            let tables = ["tcp", "tcp6"]
                .map(|name| fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap_or_default());
            // Columns: number, local address, remote address, state; 0A is LISTEN.
            tables.iter().flat_map(|table| table.lines()).any(|line| {
                let mut columns = line.split_whitespace().skip(1);
                columns.next().is_some_and(|local| local.ends_with(&port)) && columns.nth(1) == Some("0A")
            })
        })
    }
}

/// The address of a client, by its index.
#[must_use]
pub fn client_address(index: usize) -> Ipv4Addr {
    in_range(99, index)
}

/// The next hop of a client's routes.
#[must_use]
pub fn next_hop(index: usize) -> Ipv4Addr {
    in_range(98, index)
}

/// `10.SECOND.1.1` and on, without .0 and .255.
fn in_range(second: u8, index: usize) -> Ipv4Addr {
    let third = u8::try_from(1 + index / 250).expect("at most 63,500 clients");
    let fourth = u8::try_from(1 + index % 250).expect("below 251");
    Ipv4Addr::new(10, second, third, fourth)
}
