//! Kubernetes objects as JSON files in a folder: an object per file, or a `List` of some.

use super::{KubernetesObjects, KubernetesSource, ObjectChange, ObjectName, SourceNews, no_object};
use crate::cluster::Problem;
use crate::cluster::folder::{FileChange, FileContent, FolderNews, FolderOptions, FolderWatcher};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Names of files that are read end with this.
const SUFFIX: &str = ".json";
/// What `kubectl get` calls several objects in one document.
const LIST: &str = "List";
/// Problems that are told of one file.
const PROBLEMS_MAX: usize = 20;

/// The objects in the `*.json` files of a folder, which must be there; see [`crate::cluster::folder`] for how files may
/// be written.
///
/// An object that several files name is as in the file that named it first, or comes first by name. A file that cannot be
/// read as objects leaves those in force that it named last.
#[derive(Debug)]
pub struct FolderSource {
    watcher: FolderWatcher,
    files: Files,
}

/// The folder cannot be read. Whoever administers the node is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}; the objects that were in it stay in force")]
pub struct FolderError {
    reason: String,
}

impl FolderSource {
    /// Begins to follow a folder. Must be called inside a tokio runtime.
    pub fn start(path: PathBuf) -> Self {
        let watcher = FolderWatcher::start(FolderOptions { path, suffix: SUFFIX, may_be_missing: false });
        Self { watcher, files: Files::default() }
    }
}

impl KubernetesSource for FolderSource {
    type Error = FolderError;

    async fn news(&mut self) -> Result<SourceNews, FolderError> {
        match self.watcher.next().await {
            FolderNews::Changed(files) => {
                let changes = self.files.take(files);
                let path = |file: &str| self.watcher.path().join(file).display().to_string();
                let problem = |(file, reason): (&str, String)| Problem::new("File", path(file), reason);
                Ok(SourceNews { changes, problems: self.files.problems().map(problem).collect() })
            }
            FolderNews::Unreadable { reason } => Err(FolderError { reason }),
        }
    }
}

/// Which file says what.
#[derive(Debug, Default)]
struct Files {
    /// The objects that each file names.
    objects: BTreeMap<String, BTreeSet<ObjectName>>,
    /// The file whose word counts.
    owners: BTreeMap<ObjectName, String>,
    /// Objects that another file named first, and the files that would be next.
    others: BTreeMap<ObjectName, BTreeMap<String, ObjectChange>>,
    problems: BTreeMap<String, Vec<String>>,
}

impl Files {
    fn take(&mut self, files: Vec<FileChange>) -> Vec<ObjectChange> {
        let mut changes = Vec::new();
        let (gone, present): (Vec<_>, Vec<_>) =
            files.into_iter().partition(|file| file.content == FileContent::Gone);
        // First, so that a file that was renamed is not the second to name its objects.
        for FileChange { name, .. } in gone {
            self.problems.remove(&name);
            for object in self.objects.remove(&name).unwrap_or_default() {
                self.release(&object, &name, &mut changes);
            }
        }
        for FileChange { name, content } in present {
            match content {
                FileContent::Is(bytes) => match parse(&bytes) {
                    Ok(contents) => self.set(name, contents, &mut changes),
                    Err(reason) => self.keep(name, reason),
                },
                FileContent::Unreadable(reason) => self.keep(name, reason),
                FileContent::Gone => {}
            }
        }
        changes
    }

    fn keep(&mut self, file: String, reason: String) {
        let reason = format!("{reason}; what the file said last stays in force");
        self.problems.insert(file, vec![reason]);
    }

    fn set(&mut self, file: String, contents: Contents, changes: &mut Vec<ObjectChange>) {
        let mut named: BTreeSet<ObjectName> = contents.objects.keys().cloned().collect();
        let before = self.objects.remove(&file).unwrap_or_default();
        for object in before.difference(&named.clone()) {
            // What cannot be read may be one of those that were there.
            if contents.problems.is_empty() {
                self.release(object, &file, changes);
            } else {
                named.insert(object.clone());
            }
        }
        for (object, json) in contents.objects {
            let change = ObjectChange::Put(json);
            let owner = self.owners.entry(object.clone()).or_insert_with(|| file.clone());
            if *owner == file {
                changes.push(change);
            } else {
                self.others.entry(object).or_default().insert(file.clone(), change);
            }
        }
        self.objects.insert(file.clone(), named);
        if contents.problems.is_empty() {
            self.problems.remove(&file);
        } else {
            self.problems.insert(file, contents.problems);
        }
    }

    /// A file does not name an object any more.
    fn release(&mut self, object: &ObjectName, file: &str, changes: &mut Vec<ObjectChange>) {
        let mut others = self.others.remove(object).unwrap_or_default();
        others.remove(file);
        if self.owners.get(object).is_some_and(|owner| owner == file) {
            match others.pop_first() {
                Some((next, change)) => {
                    self.owners.insert(object.clone(), next);
                    changes.push(change);
                }
                None => {
                    self.owners.remove(object);
                    changes.push(ObjectChange::Delete(object.clone()));
                }
            }
        }
        if !others.is_empty() {
            self.others.insert(object.clone(), others);
        }
    }

    /// By file.
    fn problems(&self) -> impl Iterator<Item = (&str, String)> {
        let own = self
            .problems
            .iter()
            .flat_map(|(file, reasons)| reasons.iter().map(move |reason| (file.as_str(), reason.clone())));
        let twice = self.others.iter().flat_map(|(object, files)| {
            let owner = self.owners.get(object).map_or("", String::as_str);
            let reason = format!("{object} is in {owner} too, which counts");
            files.keys().map(move |file| (file.as_str(), reason.clone()))
        });
        own.chain(twice)
    }
}

/// What a file says.
#[derive(Default)]
struct Contents {
    /// As JSON.
    objects: BTreeMap<ObjectName, Vec<u8>>,
    /// What is wrong with single objects of a list.
    problems: Vec<String>,
}

#[derive(Deserialize)]
struct Outline {
    #[serde(default)]
    kind: serde_json::Value,
    #[serde(default)]
    items: Vec<serde_json::Value>,
}

/// The objects, by name.
///
/// # Errors
/// Why there are none; says nothing of the content, which may be a Secret.
fn parse(json: &[u8]) -> Result<Contents, String> {
    let outline: Outline = serde_json::from_slice(json).map_err(|error| no_object(&error))?;
    let mut contents = Contents::default();
    if outline.kind != LIST {
        let name = KubernetesObjects::name_of(json).map_err(|problem| problem.reason)?;
        contents.objects.insert(name, json.to_vec());
        return Ok(contents);
    }
    for (index, item) in outline.items.iter().enumerate() {
        let json = item.to_string().into_bytes();
        match KubernetesObjects::name_of(&json) {
            Ok(name) => _ = contents.objects.insert(name, json),
            Err(problem) if contents.problems.len() < PROBLEMS_MAX => {
                contents.problems.push(format!("items[{index}]: {}; the others count", problem.reason));
            }
            Err(_) => {}
        }
    }
    Ok(contents)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn service(name: &str, address: &str) -> Value {
        json!({"kind": "Service", "metadata": {"name": name}, "spec": {"clusterIP": address}})
    }

    fn is(file: &str, json: &Value) -> FileChange {
        FileChange { name: file.to_owned(), content: FileContent::Is(json.to_string().into_bytes()) }
    }

    fn gone(file: &str) -> FileChange {
        FileChange { name: file.to_owned(), content: FileContent::Gone }
    }

    /// The folder's files, and the objects that they make.
    #[derive(Default)]
    struct Folder {
        files: Files,
        objects: KubernetesObjects,
    }

    impl Folder {
        /// The addresses of the services after a change.
        fn after(&mut self, changes: Vec<FileChange>) -> Vec<String> {
            for change in self.files.take(changes) {
                self.objects.apply(&change).unwrap();
            }
            let services = self.objects.services().map(|(service, _)| service.cluster_ips[0].to_string());
            services.collect()
        }

        fn problems(&self) -> Vec<String> {
            self.files.problems().map(|(file, reason)| format!("{file}: {reason}")).collect()
        }
    }

    #[test]
    fn files_and_lists_hold_objects() {
        let mut folder = Folder::default();
        let list = json!({"kind": "List", "items": [service("b", "10.0.0.2"), service("c", "10.0.0.3")]});
        let files = vec![is("a.json", &service("a", "10.0.0.1")), is("list.json", &list)];
        assert_eq!(folder.after(files), ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
        let list = json!({"kind": "List", "items": [service("c", "10.0.0.4")]});
        assert_eq!(folder.after(vec![is("list.json", &list)]), ["10.0.0.1", "10.0.0.4"]);
        assert_eq!(
            folder.after(vec![gone("a.json"), is("list.json", &service("d", "10.0.0.5"))]),
            ["10.0.0.5"]
        );
        assert_eq!(folder.after(vec![gone("list.json")]), [""; 0]);
        assert_eq!(folder.problems(), [""; 0]);
        let Files { objects, owners, others, problems } = folder.files;
        assert!(objects.is_empty() && owners.is_empty() && others.is_empty() && problems.is_empty());
    }

    #[test]
    fn a_file_that_is_wrong_leaves_in_force_what_it_said() {
        let mut folder = Folder::default();
        folder.after(vec![is("a.json", &service("a", "10.0.0.1"))]);
        for wrong in [json!("hunter2"), json!(["hunter2"]), json!({"kind": "Pod", "metadata": {"name": "a"}})]
        {
            assert_eq!(folder.after(vec![is("a.json", &wrong)]), ["10.0.0.1"]);
            let problems = folder.problems();
            assert!(
                problems[0].starts_with("a.json: ") && problems[0].ends_with("stays in force"),
                "{problems:?}"
            );
            assert!(problems.len() == 1 && !problems[0].contains("hunter2"), "{problems:?}");
        }
        let unreadable = FileContent::Unreadable("permission denied".to_owned());
        folder.after(vec![FileChange { name: "a.json".to_owned(), content: unreadable }]);
        assert_eq!(folder.problems(), ["a.json: permission denied; what the file said last stays in force"]);
        assert_eq!(folder.after(vec![is("a.json", &service("a", "10.0.0.2"))]), ["10.0.0.2"]);
        assert_eq!(folder.problems(), [""; 0]);

        let list = |second: Value| json!({"kind": "List", "items": [service("b", "10.0.0.3"), second]});
        folder.after(vec![is("b.json", &list(service("c", "10.0.0.4")))]);
        let after = folder.after(vec![is("b.json", &list(json!({"kind": "Service"})))]);
        assert_eq!(
            after,
            ["10.0.0.2", "10.0.0.3", "10.0.0.4"],
            "the unreadable one may be the one that was there"
        );
        assert!(folder.problems()[0].starts_with("b.json: items[1]: "), "{:?}", folder.problems());
        assert_eq!(folder.after(vec![gone("b.json")]), ["10.0.0.2"]);
    }

    #[test]
    fn of_two_files_with_one_object_the_first_counts_until_it_is_gone() {
        let mut folder = Folder::default();
        let both = vec![is("a.json", &service("x", "10.0.0.1")), is("b.json", &service("x", "10.0.0.2"))];
        assert_eq!(folder.after(both), ["10.0.0.1"]);
        assert_eq!(folder.problems(), ["b.json: Service/default/x is in a.json too, which counts"]);
        assert_eq!(folder.after(vec![is("0.json", &service("x", "10.0.0.3"))]), ["10.0.0.1"]);
        assert_eq!(folder.after(vec![is("b.json", &service("x", "10.0.0.4"))]), ["10.0.0.1"]);
        assert_eq!(folder.after(vec![gone("0.json")]), ["10.0.0.1"]);
        assert_eq!(folder.after(vec![gone("a.json")]), ["10.0.0.4"]);
        assert_eq!(folder.problems(), [""; 0]);
        let renamed = vec![gone("b.json"), is("a.json", &service("x", "10.0.0.5"))];
        assert_eq!(folder.after(renamed), ["10.0.0.5"]);
        assert_eq!(folder.problems(), [""; 0]);
    }
}
