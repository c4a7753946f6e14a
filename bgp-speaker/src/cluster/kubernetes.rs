//! What Calico keeps only in the Kubernetes API, even where its datastore is etcd: Services, EndpointSlices, Secrets.
//!
//! Nothing but an implementation of [`KubernetesSource`] knows where the objects come from. Everybody else reads
//! [`KubernetesObjects`].

mod endpoint_slice;
#[cfg(feature = "folder")]
mod folder;
mod secret;
mod service;

pub use endpoint_slice::EndpointSlice;
#[cfg(feature = "folder")]
pub use folder::{FolderError, FolderSource};
pub use service::{Service, ServiceType, TrafficPolicy};

use super::Problem;
use super::field::Findings;
use crate::config::Secret;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;

/// Where Kubernetes objects come from: a watched folder, or the API.
pub trait KubernetesSource: Send {
    /// Why the source cannot be read.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Waits for news. The first is everything there is, even if that is nothing; each later one is what changed since.
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    /// The source cannot be read: everything stays as it was. It tries again by itself, at a pace of its own, and the
    /// next news show that it can be read.
    fn news(&mut self) -> impl Future<Output = Result<SourceNews, Self::Error>> + Send;
}

/// What a [`KubernetesSource`] tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceNews {
    /// In order.
    pub changes: Vec<ObjectChange>,
    /// All that is wrong where the objects come from, and cannot be said of an object. In place of what was said before.
    pub problems: Vec<Problem>,
}

/// A change to one object. `Debug` does not show the object, which may be a Secret.
#[derive(Clone, PartialEq, Eq)]
pub enum ObjectChange {
    /// It is not there any more.
    Delete(ObjectName),
    /// It is like this now: the object as JSON, with `kind` and `metadata`.
    Put(Vec<u8>),
}

impl fmt::Debug for ObjectChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ObjectChange::Delete(name) => write!(f, "Delete({name})"),
            ObjectChange::Put(json) => write!(f, "Put({} bytes)", json.len()),
        }
    }
}

/// An object's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// The kind.
    pub kind: ObjectKind,
    /// The namespace.
    pub namespace: String,
    /// The name in it.
    pub name: String,
}

/// Kinds of objects that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names are those of Kubernetes")]
pub enum ObjectKind {
    EndpointSlice,
    Secret,
    Service,
}

impl ObjectKind {
    const ALL: [ObjectKind; 3] = [ObjectKind::EndpointSlice, ObjectKind::Secret, ObjectKind::Service];

    fn name(self) -> &'static str {
        match self {
            ObjectKind::EndpointSlice => "EndpointSlice",
            ObjectKind::Secret => "Secret",
            ObjectKind::Service => "Service",
        }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.kind.name(), self.namespace, self.name)
    }
}

/// Namespace and name.
type Name = (String, String);

/// All objects, by name. One per node; fed by a [`KubernetesSource`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KubernetesObjects {
    services: BTreeMap<Name, Service>,
    slices: BTreeMap<Name, EndpointSlice>,
    /// By key, as far as the values can be passwords: certificates and the like are not kept.
    secrets: BTreeMap<Name, BTreeMap<String, Option<Secret>>>,
    problems: BTreeMap<ObjectName, Vec<String>>,
}

#[derive(Deserialize)]
struct Header {
    kind: String,
    metadata: HeaderMetadata,
}

#[derive(Deserialize)]
struct HeaderMetadata {
    #[serde(default = "default_namespace")]
    namespace: String,
    name: String,
}

fn default_namespace() -> String {
    "default".to_owned()
}

impl KubernetesObjects {
    /// Carries out a change. Answers whether anything is different now.
    ///
    /// # Errors
    /// The object has no readable kind and name, so that nothing can be said against its name.
    pub fn apply(&mut self, change: &ObjectChange) -> Result<bool, Problem> {
        match change {
            ObjectChange::Delete(name) => Ok(self.delete(name)),
            ObjectChange::Put(json) => self.put(json),
        }
    }

    /// The name of the object in this JSON.
    ///
    /// # Errors
    /// As [`KubernetesObjects::apply`].
    pub fn name_of(json: &[u8]) -> Result<ObjectName, Problem> {
        let problem = |reason| Problem::new("Kubernetes", "Kubernetes", reason);
        let Header { kind, metadata } =
            serde_json::from_slice(json).map_err(|error| problem(no_object(&error)))?;
        let kind = ObjectKind::ALL.into_iter().find(|known| known.name() == kind);
        let kind =
            kind.ok_or_else(|| problem("kind: neither EndpointSlice, Secret nor Service".to_owned()))?;
        Ok(ObjectName { kind, namespace: metadata.namespace, name: metadata.name })
    }

    fn put(&mut self, json: &[u8]) -> Result<bool, Problem> {
        let name = Self::name_of(json)?;
        let key = (name.namespace.clone(), name.name.clone());
        let mut findings = Findings::default();
        let changed =
            match name.kind {
                ObjectKind::EndpointSlice => EndpointSlice::read(json, &mut findings)
                    .map(|slice| replace(&mut self.slices, key, slice)),
                ObjectKind::Secret => {
                    secret::read(json, &mut findings).map(|secret| replace(&mut self.secrets, key, secret))
                }
                ObjectKind::Service => Service::read(json, &mut findings)
                    .map(|service| replace(&mut self.services, key, service)),
            };
        let mut reasons = findings.into_vec();
        let changed = changed.unwrap_or_else(|reason| {
            reasons.push(reason);
            false
        });
        if reasons.is_empty() {
            self.problems.remove(&name);
        } else {
            self.problems.insert(name, reasons);
        }
        Ok(changed)
    }

    fn delete(&mut self, name: &ObjectName) -> bool {
        self.problems.remove(name);
        let key = (name.namespace.clone(), name.name.clone());
        match name.kind {
            ObjectKind::EndpointSlice => self.slices.remove(&key).is_some(),
            ObjectKind::Secret => self.secrets.remove(&key).is_some(),
            ObjectKind::Service => self.services.remove(&key).is_some(),
        }
    }

    /// All services with the slices of each.
    pub fn services(&self) -> impl Iterator<Item = (&Service, Vec<&EndpointSlice>)> {
        let mut by_service: BTreeMap<(&str, &str), Vec<&EndpointSlice>> = BTreeMap::new();
        for ((namespace, _), slice) in &self.slices {
            by_service.entry((namespace, &slice.service)).or_default().push(slice);
        }
        self.services.iter().map(move |((namespace, name), service)| {
            let slices = by_service.get(&(namespace.as_str(), name.as_str()));
            (service, slices.cloned().unwrap_or_default())
        })
    }

    /// A key of a Secret.
    ///
    /// # Errors
    /// What is the matter with it, for a message.
    pub fn password(&self, namespace: &str, name: &str, key: &str) -> Result<&Secret, NoPassword> {
        let secret = self.secrets.get(&(namespace.to_owned(), name.to_owned()));
        let value = secret.and_then(|secret| secret.get(key)).ok_or(NoPassword::Missing)?;
        value.as_ref().ok_or(NoPassword::Length)
    }

    /// What is wrong with the objects.
    pub fn problems(&self) -> impl Iterator<Item = Problem> {
        self.problems.iter().flat_map(|(name, reasons)| {
            reasons.iter().map(|reason| Problem::new(name.kind.name(), name.to_string(), reason.clone()))
        })
    }
}

/// Why a key of a Secret is no password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPassword {
    /// TCP MD5 cannot take it.
    #[error("is empty, or longer than {} bytes", Secret::BYTES_MAX)]
    Length,
    /// There is no such Secret, or it has no such key.
    #[error("is not there")]
    Missing,
}

/// Why a text is no object. The library's own words would quote it, and it may be a Secret.
fn no_object(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    match error.classify() {
        serde_json::error::Category::Data => {
            format!("line {line}, column {column}: no object with kind, metadata and metadata.name")
        }
        _ => format!("line {line}, column {column}: no JSON"),
    }
}

fn replace<T: PartialEq>(map: &mut BTreeMap<Name, T>, key: Name, value: T) -> bool {
    let is_new = map.get(&key) != Some(&value);
    if is_new {
        map.insert(key, value);
    }
    is_new
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn put(objects: &mut KubernetesObjects, json: serde_json::Value) -> bool {
        objects.apply(&ObjectChange::Put(json.to_string().into_bytes())).unwrap()
    }

    #[test]
    fn a_secret_is_found_and_never_shown() {
        let mut objects = KubernetesObjects::default();
        let secret = json!({
            "kind": "Secret", "metadata": {"namespace": "kube-system", "name": "bgp-keys"},
            "data": {"tor7": "aHVudGVyMg==", "broken": "%"}, "stringData": {"ca.crt": "x".repeat(81)}
        });
        assert!(put(&mut objects, secret.clone()) && !put(&mut objects, secret));
        assert_eq!(objects.password("kube-system", "bgp-keys", "tor7").unwrap().expose(), "hunter2");
        assert_eq!(objects.password("default", "bgp-keys", "tor7"), Err(NoPassword::Missing));
        assert_eq!(objects.password("kube-system", "bgp-keys", "ca.crt"), Err(NoPassword::Length));
        let problems: Vec<_> = objects.problems().collect();
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].key, "Secret/kube-system/bgp-keys");
        assert!(!format!("{objects:?}{problems:?}").contains("aHVu"));
        let name = ObjectName {
            kind: ObjectKind::Secret,
            namespace: "kube-system".to_owned(),
            name: "bgp-keys".to_owned(),
        };
        assert!(objects.apply(&ObjectChange::Delete(name)).unwrap());
        assert_eq!(objects, KubernetesObjects::default());
    }

    #[test]
    fn slices_belong_to_the_service_of_their_label_and_namespace() {
        let mut objects = KubernetesObjects::default();
        for namespace in ["a", "b"] {
            put(&mut objects, json!({"kind": "Service", "metadata": {"namespace": namespace, "name": "s"}}));
        }
        put(
            &mut objects,
            json!({
                "kind": "EndpointSlice",
                "metadata": {"namespace": "b", "name": "s-1", "labels": {"kubernetes.io/service-name": "s"}},
                "addressType": "IPv4", "endpoints": [{"nodeName": "n1"}]
            }),
        );
        let counts: Vec<usize> = objects.services().map(|(_, slices)| slices.len()).collect();
        assert_eq!(counts, [0, 1]);
    }

    #[test]
    fn what_has_no_name_is_an_error_that_does_not_quote_it() {
        let mut objects = KubernetesObjects::default();
        for json in [
            "",
            "[]",
            "{}",
            "\"hunter2\"",
            "hunter2",
            r#"{"kind":"Pod","metadata":{"name":"x"}}"#,
            r#"{"kind":"hunter2","metadata":{"name":"x"}}"#,
            r#"{"kind":"Secret","metadata":"hunter2"}"#,
            r#"{"kind":"Secret","metadata":{"name":{"hunter2":"hunter2"}}}"#,
        ] {
            let put = ObjectChange::Put(json.into());
            let problem = objects.apply(&put).unwrap_err();
            assert!(!format!("{problem:?} {problem} {put:?}").contains("hunter2"), "{problem}");
        }
    }
}
