//! What Calico keeps only in the Kubernetes API, even where its datastore is etcd: Services, EndpointSlices, Secrets.
//!
//! Nothing but an implementation of [`KubernetesSource`] knows where the objects come from. Everybody else reads
//! [`KubernetesObjects`].

mod endpoint_slice;
mod secret;
mod service;

pub use endpoint_slice::EndpointSlice;
pub use service::{Service, ServiceType, TrafficPolicy};

use super::Problem;
use super::field::Findings;
use crate::config::Secret;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::future::Future;

/// Where Kubernetes objects come from: a watched folder, or the API.
pub trait KubernetesSource: Send {
    /// Why the source cannot be read.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Waits for changes. The first answer is everything there is, even if that is nothing; each later one is what
    /// changed since. Dropping the future loses no change.
    fn changes(&mut self) -> impl Future<Output = Result<Vec<ObjectChange>, Self::Error>> + Send;
}

/// A change to one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectChange {
    /// It is not there any more.
    Delete(ObjectName),
    /// It is like this now: the object as JSON, with `kind` and `metadata`.
    Put(Vec<u8>),
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[allow(missing_docs, reason = "the names are those of Kubernetes")]
pub enum ObjectKind {
    EndpointSlice,
    Secret,
    Service,
}

impl ObjectKind {
    fn name(self) -> &'static str {
        match self {
            ObjectKind::EndpointSlice => "EndpointSlice",
            ObjectKind::Secret => "Secret",
            ObjectKind::Service => "Service",
        }
    }
}

impl std::fmt::Display for ObjectName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
    /// Keys and values.
    secrets: BTreeMap<Name, BTreeMap<String, Secret>>,
    problems: BTreeMap<ObjectName, Vec<String>>,
}

#[derive(Deserialize)]
struct Header {
    kind: ObjectKind,
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
        let header: Header = serde_json::from_slice(json)
            .map_err(|error| Problem::new("Kubernetes", "Kubernetes", format!("unreadable: {error}")))?;
        let HeaderMetadata { namespace, name } = header.metadata;
        Ok(ObjectName { kind: header.kind, namespace, name })
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
    pub fn secret(&self, namespace: &str, name: &str, key: &str) -> Option<&Secret> {
        self.secrets.get(&(namespace.to_owned(), name.to_owned()))?.get(key)
    }

    /// What is wrong with the objects.
    pub fn problems(&self) -> impl Iterator<Item = Problem> {
        self.problems.iter().flat_map(|(name, reasons)| {
            reasons.iter().map(|reason| Problem::new(name.kind.name(), name.to_string(), reason.clone()))
        })
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
            "data": {"tor7": "aHVudGVyMg==", "broken": "%"}
        });
        assert!(put(&mut objects, secret.clone()) && !put(&mut objects, secret));
        assert_eq!(objects.secret("kube-system", "bgp-keys", "tor7").unwrap().expose(), "hunter2");
        assert_eq!(objects.secret("default", "bgp-keys", "tor7"), None);
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
    fn what_has_no_name_is_an_error() {
        let mut objects = KubernetesObjects::default();
        for json in ["", "[]", "{}", r#"{"kind":"Pod","metadata":{"name":"x"}}"#] {
            assert!(objects.apply(&ObjectChange::Put(json.into())).is_err(), "{json}");
        }
    }
}
