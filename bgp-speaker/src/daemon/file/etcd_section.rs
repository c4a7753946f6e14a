//! `[etcd]`: where the datastore is, whose model it holds, and what else that model is read from.

use super::Surroundings;
use super::reader::Section;
use super::values;
use crate::cluster::calico::LocalNode;
use crate::cluster::registry::LocalRecord;
use crate::config::Secret;
use std::path::{Path, PathBuf};
use toml::de::DeValue;

/// Where the datastore's last content is kept unless said otherwise.
const DEFAULT_CACHE: &str = "/var/lib/bgp/datastore.cache";
/// Default of [`EtcdSection::lease`]: longer than the longest delay between two attempts to reach etcd.
const DEFAULT_LEASE_SECS: u16 = 60;
/// Where Calico's programs keep their files unless its environment says otherwise.
const CALICO_FOLDER: &str = "/var/run/calico";
/// What Felix calls the folder of its status files in there.
const ENDPOINT_STATUS: &str = "endpoint-status";

/// Whose data model etcd holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EtcdModel {
    /// Calico's.
    Calico,
    /// Our own registry.
    Registry,
}

/// The datastore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EtcdSection {
    /// URLs, at least one.
    pub(crate) endpoints: Vec<String>,
    /// What is stored there.
    pub(crate) model: EtcdModel,
    /// Who we are there.
    pub(crate) node: String,
    /// Certificate authority of the servers.
    pub(crate) ca_file: Option<PathBuf>,
    /// Our certificate.
    pub(crate) cert_file: Option<PathBuf>,
    /// Its key.
    pub(crate) key_file: Option<PathBuf>,
    /// User name.
    pub(crate) username: Option<String>,
    /// Its password.
    pub(crate) password: Option<Secret>,
    /// Where its last content is kept; `None`: nowhere.
    pub(crate) cache: Option<PathBuf>,
    /// Calico's: this node, with what its environment says.
    pub(crate) local: LocalNode,
    /// Calico's: where the objects are that it keeps only in the Kubernetes API.
    pub(crate) kubernetes_folder: Option<PathBuf>,
    /// Calico's: where Felix tells of local workloads; `None`: not read.
    pub(crate) endpoint_status_folder: Option<PathBuf>,
    /// The registry's: where this node is, to choose reflectors by.
    pub(crate) zone: Option<String>,
    /// The registry's: after how many seconds without a sign of life the node is gone.
    pub(crate) lease: u16,
}

impl EtcdSection {
    /// This node in the registry.
    pub(crate) fn local_record(&self) -> LocalRecord {
        LocalRecord { name: self.node.clone(), zone: self.zone.clone() }
    }
}

/// Calico's environment stands in for keys that its model lets absent. This is the one place where it is read.
pub(super) fn read_etcd(mut section: Section<'_>, surroundings: &Surroundings) -> EtcdSection {
    let model = section
        .read("model", values::word(&[("calico", EtcdModel::Calico), ("registry", EtcdModel::Registry)]))
        .unwrap_or(EtcdModel::Calico);
    let variable = |name: &str| match model {
        EtcdModel::Calico => (surroundings.environment)(name),
        EtcdModel::Registry => None,
    };
    let file = |key: Option<String>, name| {
        key.or_else(|| variable(name)).map(|path| surroundings.directory.join(path))
    };
    let endpoints: Vec<String> = match section.list("endpoints", endpoint) {
        Some(listed) => listed.into_iter().map(|(_, url)| url).collect(),
        None => variable("ETCD_ENDPOINTS")
            .map(|text| text.split(',').map(|url| url.trim().to_owned()).collect())
            .unwrap_or_default(),
    };
    if endpoints.is_empty() {
        section.report("endpoints", "name at least one server, such as \"http://127.0.0.1:2379\"");
    }
    let node = section
        .read("node", values::text)
        .or_else(|| (surroundings.environment)("NODENAME"))
        .unwrap_or_else(|| surroundings.host_name.clone());
    let folders = Folders::read(&mut section, model, &variable, &surroundings.directory);
    let etcd = EtcdSection {
        endpoints,
        model,
        ca_file: file(section.read("ca_file", values::text), "ETCD_CA_CERT_FILE"),
        cert_file: file(section.read("cert_file", values::text), "ETCD_CERT_FILE"),
        key_file: file(section.read("key_file", values::text), "ETCD_KEY_FILE"),
        username: section.read("username", values::text).or_else(|| variable("ETCD_USERNAME")),
        password: variable("ETCD_PASSWORD").map(Secret::new),
        cache: match section.read("cache", values::text).as_deref() {
            Some("off") => None,
            Some(path) => Some(surroundings.directory.join(path)),
            None => Some(PathBuf::from(DEFAULT_CACHE)),
        },
        local: local_node(&mut section, &node, &variable),
        kubernetes_folder: folders.kubernetes,
        endpoint_status_folder: folders.endpoint_status,
        zone: section.read("zone", values::text),
        lease: section.read("lease", values::integer(5..=3600u16)).unwrap_or(DEFAULT_LEASE_SECS),
        node,
    };
    if etcd.cert_file.is_some() != etcd.key_file.is_some() {
        section.report("cert_file", "a certificate and its key go together: set cert_file and key_file");
    }
    section.finish();
    etcd
}

fn local_node(
    section: &mut Section<'_>,
    name: &str,
    variable: &impl Fn(&str) -> Option<String>,
) -> LocalNode {
    LocalNode::named(name).with_environment(variable).unwrap_or_else(|reason| {
        section.report("node", format!("environment variable {reason}"));
        LocalNode::named(name)
    })
}

/// What Calico's model is read from beside etcd.
struct Folders {
    kubernetes: Option<PathBuf>,
    endpoint_status: Option<PathBuf>,
}

impl Folders {
    fn read(
        section: &mut Section<'_>,
        model: EtcdModel,
        variable: &impl Fn(&str) -> Option<String>,
        directory: &Path,
    ) -> Self {
        let kubernetes = section.read("kubernetes_folder", values::text);
        let endpoint_status = section.read("endpoint_status_folder", values::text);
        if model == EtcdModel::Registry {
            let keys = [("kubernetes_folder", &kubernetes), ("endpoint_status_folder", &endpoint_status)];
            for (key, _) in keys.into_iter().filter(|(_, value)| value.is_some()) {
                section.report(key, "only Calico's data go with such a folder: set model = \"calico\"");
            }
            return Self { kubernetes: None, endpoint_status: None };
        }
        let endpoint_status = match endpoint_status.as_deref() {
            Some("off") => None,
            Some(path) => Some(directory.join(path)),
            None => {
                let prefix = variable("CALICO_ENDPOINT_STATUS_PATH_PREFIX");
                let prefix = prefix.unwrap_or_else(|| CALICO_FOLDER.to_owned());
                Some(directory.join(prefix).join(ENDPOINT_STATUS))
            }
        };
        Self { kubernetes: kubernetes.map(|path| directory.join(path)), endpoint_status }
    }
}

fn endpoint(value: &DeValue<'_>) -> Result<String, String> {
    let url = values::text(value)?;
    if url.starts_with("http://") || url.starts_with("https://") {
        Ok(url)
    } else {
        Err(format!("\"{url}\" is not a URL such as \"http://127.0.0.1:2379\""))
    }
}
