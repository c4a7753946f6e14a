//! A lab: the namespaces, links and log folder of one test or demo, gone when it is dropped.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use ipnet::{Ipv4Net, Ipv6Net};
use nix::unistd::geteuid;

use crate::cleanup;
use crate::error::LabError;
use crate::netns::Namespace;

/// Labs made so far by this process: keeps names unique within it.
static LAB_COUNT: AtomicU32 = AtomicU32::new(0);

/// One isolated network. Every name carries the process id, so that labs of parallel runs do not meet.
#[derive(Debug)]
pub struct Lab {
    prefix: String,
    folder: PathBuf,
    namespaces: Mutex<Vec<String>>,
    keeps_logs: AtomicBool,
}

impl Lab {
    /// Makes an empty lab. `name` appears in the name of its log folder.
    ///
    /// # Errors
    /// [`LabError::Missing`] without the privilege to make network namespaces.
    pub fn new(name: &str) -> Result<Lab, LabError> {
        if !geteuid().is_root() {
            return Err(LabError::Missing {
                what: "the right to make network namespaces".into(),
                remedy: "run this as root, or inside `unshare -Urnm` with a tmpfs on /run".into(),
            });
        }
        cleanup::prepare();
        let pid = std::process::id();
        let prefix = match LAB_COUNT.fetch_add(1, Ordering::Relaxed) {
            0 => format!("{}{pid}", cleanup::PREFIX),
            count => format!("{}{pid}.{count}", cleanup::PREFIX),
        };
        let folder = std::env::temp_dir().join(format!("{prefix}-{name}"));
        let lab = Lab { prefix, folder, namespaces: Mutex::default(), keeps_logs: AtomicBool::new(false) };
        cleanup::register_folder(&lab.folder);
        make_folder(&lab.folder)?;
        Ok(lab)
    }

    /// Where logs, configurations and sockets of this lab are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Keeps logs and configurations when the lab is dropped, for whoever looks into a failure.
    pub fn keep_logs(&self) {
        self.keeps_logs.store(true, Ordering::Relaxed);
    }

    /// A folder of its own for one daemon.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn subfolder(&self, name: &str) -> Result<PathBuf, LabError> {
        let path = self.folder.join(name);
        make_folder(&path)?;
        Ok(path)
    }

    /// Makes a namespace.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn namespace(&self, name: &str) -> Result<Namespace, LabError> {
        let full_name = format!("{}-{name}", self.prefix);
        cleanup::register_namespace(&full_name);
        self.namespaces.lock().expect("no panic while holding it").push(full_name.clone());
        Namespace::create(full_name)
    }

    /// Makes a switch: a namespace with a bridge.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn switch(&self, name: &str) -> Result<Switch, LabError> {
        let namespace = self.namespace(name)?;
        namespace.ip("link add name br0 type bridge mcast_snooping 0\nlink set dev br0 up")?;
        Ok(Switch { namespace, port_count: AtomicU32::new(0) })
    }

    /// Makes a host with one interface `eth0` on the switch, with both addresses on it.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn node(&self, switch: &Switch, name: &str, v4: Ipv4Net, v6: Ipv6Net) -> Result<Node, LabError> {
        let namespace = self.namespace(name)?;
        let port = format!("port{}", switch.port_count.fetch_add(1, Ordering::Relaxed));
        switch.namespace.ip(&format!(
            "link add name {port} type veth peer name eth0 netns {}
             link set dev {port} master br0 up",
            namespace.name()
        ))?;
        namespace.ip(&format!(
            "link set dev eth0 up
             address add {v4} dev eth0
             address add {v6} dev eth0 nodad"
        ))?;
        Ok(Node { name: name.to_owned(), namespace, v4: v4.addr(), v6: v6.addr() })
    }

    /// Makes a pod on a node: a namespace with one address of each family, linked to the node by a veth, so that its
    /// traffic is really forwarded by the node. The node gets the pod's host routes; the pod a default route.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn pod(&self, node: &Node, name: &str, v4: Ipv4Addr, v6: Ipv6Addr) -> Result<Pod, LabError> {
        self.pod_on(node, "pod0", name, v4, v6)
    }

    /// Makes a pod as [`Lab::pod`] does, behind an interface of the node that is called `device`.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn pod_on(
        &self,
        node: &Node,
        device: &str,
        name: &str,
        v4: Ipv4Addr,
        v6: Ipv6Addr,
    ) -> Result<Pod, LabError> {
        let namespace = self.namespace(name)?;
        node.namespace.ip(&format!(
            "link add name {device} type veth peer name eth0 netns {}
             link set dev {device} up
             address add 169.254.1.1/32 dev {device}
             address add fe80::1/64 dev {device} nodad
             route add {v4}/32 dev {device}
             route add {v6}/128 dev {device}",
            namespace.name()
        ))?;
        namespace.ip(&format!(
            "link set dev eth0 up
             address add {v4}/32 dev eth0
             address add {v6}/128 dev eth0 nodad
             route add 169.254.1.1/32 dev eth0
             route add default via 169.254.1.1 dev eth0
             route add default via fe80::1 dev eth0"
        ))?;
        Ok(Pod { name: name.to_owned(), namespace, v4, v6 })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for name in self.namespaces.lock().expect("no panic while holding it").drain(..) {
            cleanup::remove_namespace(&name);
        }
        cleanup::forget_folder(&self.folder);
        let is_kept = self.keeps_logs.load(Ordering::Relaxed) || std::env::var_os("BGP_LAB_KEEP").is_some();
        if is_kept || std::thread::panicking() {
            eprintln!("logs and configurations are kept in {}", self.folder.display());
        } else {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// Makes a folder that daemons with dropped privileges may enter.
fn make_folder(path: &Path) -> Result<(), LabError> {
    fs::create_dir_all(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)))
        .map_err(LabError::io(format!("making {}", path.display())))
}

/// A namespace with a bridge that connects nodes.
#[derive(Debug)]
pub struct Switch {
    namespace: Namespace,
    port_count: AtomicU32,
}

/// A host on a switch.
#[derive(Clone, Debug)]
pub struct Node {
    /// The short name, without the lab's prefix.
    pub name: String,
    /// Its namespace.
    pub namespace: Namespace,
    /// Its address on the switch.
    pub v4: Ipv4Addr,
    /// Its IPv6 address on the switch.
    pub v6: Ipv6Addr,
}

/// A pod behind a node.
#[derive(Clone, Debug)]
pub struct Pod {
    /// The short name, without the lab's prefix.
    pub name: String,
    /// Its namespace.
    pub namespace: Namespace,
    /// Its only IPv4 address.
    pub v4: Ipv4Addr,
    /// Its only global IPv6 address.
    pub v6: Ipv6Addr,
}
