//! Every route that leaves a kernel, as the kernel tells it to `ip monitor`: a route that is gone for a moment only is
//! seen here, where a look at the table would find it in place again.

use std::fs;
use std::process::Command;

use ipnet::IpNet;

use crate::command::need_program;
use crate::error::LabError;
use crate::lab::Lab;
use crate::netns::Namespace;
use crate::process::Process;
use crate::wait::{secs, wait_until};

/// A destination that no test uses otherwise; adding and removing it marks a place in the stream of notices.
const MARK: &str = "192.0.2.255/32";

/// Watches one namespace until it is dropped.
#[derive(Debug)]
pub struct RouteWatch {
    namespace: Namespace,
    process: Process,
    read_bytes: usize,
}

impl RouteWatch {
    /// Begins to watch.
    ///
    /// # Errors
    /// If `ip monitor` does not start.
    pub fn start(lab: &Lab, namespace: &Namespace, name: &str) -> Result<RouteWatch, LabError> {
        let log = lab.subfolder(name)?.join("route-changes.txt");
        let mut command = Command::new(need_program("ip", "iproute2")?);
        command.args(["-N", "monitor", "route"]);
        let process = Process::spawn(namespace, "ip monitor", &log, command)?;
        let mut watch = RouteWatch { namespace: namespace.clone(), process, read_bytes: 0 };
        watch.removed(12)?;
        Ok(watch)
    }

    /// The destinations of routes with this protocol that were removed since the last call.
    ///
    /// # Errors
    /// If the watch does not hear of a change that this call makes.
    pub fn removed(&mut self, protocol: u32) -> Result<Vec<IpNet>, LabError> {
        let mut text = String::new();
        wait_until("the watch on routes to hear of a mark", secs(20), || {
            let mark = format!("route add blackhole {MARK}\nroute del blackhole {MARK}");
            self.namespace.ip(&mark).map_err(|error| error.to_string())?;
            self.process.must_run().map_err(|error| error.to_string())?;
            let bytes = fs::read(self.process.log()).map_err(|error| error.to_string())?;
            text = String::from_utf8_lossy(&bytes[self.read_bytes..]).into_owned();
            if text.contains("192.0.2.255") && text.ends_with('\n') { Ok(()) } else { Err(text.clone()) }
        })?;
        self.read_bytes += text.len();
        let ours = format!("proto {protocol} ");
        let of_protocol = text.lines().map(|line| format!("{line} ")).filter(|line| line.contains(&ours));
        let removed = of_protocol.filter_map(|line| {
            let line = line.strip_prefix("Deleted ")?.to_owned();
            let destination = line.split_whitespace().find(|word| word.contains(['.', ':']))?.to_owned();
            destination
                .parse()
                .or_else(|_| destination.parse().map(|address: std::net::IpAddr| address.into()))
                .ok()
        });
        Ok(removed.collect())
    }
}
