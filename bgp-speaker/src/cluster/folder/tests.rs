use super::*;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

const PATIENCE: Duration = Duration::from_secs(60);

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A folder of this test alone, gone with it.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("bgp-folder-{}-{number}", std::process::id()));
        std::fs::create_dir_all(path.join("watched")).unwrap();
        Self(path)
    }

    fn folder(&self) -> PathBuf {
        self.0.join("watched")
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder().join(name), text).unwrap();
    }

    fn start(&self) -> Followed {
        self.start_with(false)
    }

    fn start_with(&self, may_be_missing: bool) -> Followed {
        let options = FolderOptions { path: self.folder(), suffix: ".json", may_be_missing };
        Followed { watcher: FolderWatcher::start(options), files: BTreeMap::new() }
    }

    fn link(&self, target: &str, name: &str) {
        std::os::unix::fs::symlink(target, self.folder().join(name)).unwrap();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a reader of the news knows.
struct Followed {
    watcher: FolderWatcher,
    files: BTreeMap<String, String>,
}

impl Followed {
    /// The next news; answers whether the folder can be read.
    async fn next(&mut self) -> Result<(), String> {
        let news = tokio::time::timeout(PATIENCE, self.watcher.next()).await.expect("news");
        match news {
            FolderNews::Unreadable { reason } => return Err(reason),
            FolderNews::Changed(changes) => {
                for FileChange { name, content } in changes {
                    match content {
                        FileContent::Gone => _ = self.files.remove(&name),
                        FileContent::Is(bytes) => {
                            _ = self.files.insert(name, String::from_utf8(bytes).unwrap());
                        }
                        FileContent::Unreadable(reason) => {
                            _ = self.files.insert(name, format!("unreadable: {reason}"))
                        }
                    }
                }
            }
        }
        Ok(())
    }

    async fn until(&mut self, expected: &[(&str, &str)]) {
        let expected: BTreeMap<String, String> =
            expected.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        while self.files != expected {
            self.next().await.unwrap();
        }
    }
}

#[tokio::test]
async fn files_that_are_written_renamed_and_removed_are_told() {
    let place = Place::new();
    place.write("a.json", "1");
    place.write("ignored.txt", "1");
    place.write(".hidden.json", "1");
    let mut followed = place.start();
    followed.next().await.unwrap();
    assert_eq!(followed.files, BTreeMap::from([("a.json".to_owned(), "1".to_owned())]), "all at once");
    // In place, of the same length and very likely within one tick of the clock.
    for text in ["2", "3", "4", "5"] {
        place.write("a.json", text);
        followed.until(&[("a.json", text)]).await;
    }
    place.write("b.new", "new");
    std::fs::rename(place.folder().join("b.new"), place.folder().join("b.json")).unwrap();
    followed.until(&[("a.json", "5"), ("b.json", "new")]).await;
    std::fs::rename(place.folder().join("b.json"), place.folder().join("a.json")).unwrap();
    followed.until(&[("a.json", "new")]).await;
    std::fs::remove_file(place.folder().join("a.json")).unwrap();
    followed.until(&[]).await;
}

#[tokio::test]
async fn an_empty_folder_is_told_too() {
    let place = Place::new();
    let mut watcher = place.start().watcher;
    assert_eq!(watcher.next().await, FolderNews::Changed(Vec::new()));
}

#[tokio::test]
async fn a_mounted_volume_is_swapped_as_a_whole() {
    let place = Place::new();
    let version = |name: &str, text: &str| {
        std::fs::create_dir(place.folder().join(name)).unwrap();
        place.write(&format!("{name}/a.json"), text);
        place.write(&format!("{name}/b.json"), text);
    };
    version("..1", "1");
    place.link("..1", "..data");
    place.link("..data/a.json", "a.json");
    place.link("..data/b.json", "b.json");
    let mut followed = place.start();
    followed.until(&[("a.json", "1"), ("b.json", "1")]).await;
    for (round, text) in [(2, "2"), (3, "3"), (4, "4")] {
        version(&format!("..{round}"), text);
        place.link(&format!("..{round}"), "..data_tmp");
        std::fs::rename(place.folder().join("..data_tmp"), place.folder().join("..data")).unwrap();
        std::fs::remove_dir_all(place.folder().join(format!("..{}", round - 1))).unwrap();
        followed.until(&[("a.json", text), ("b.json", text)]).await;
    }
    // A file less: its link leads nowhere, and is then removed.
    std::fs::remove_file(place.folder().join("..4/b.json")).unwrap();
    std::fs::remove_file(place.folder().join("b.json")).unwrap();
    followed.until(&[("a.json", "4")]).await;
}

#[tokio::test]
async fn a_folder_that_is_a_link_may_be_swapped_too() {
    let place = Place::new();
    std::fs::remove_dir(place.folder()).unwrap();
    for name in ["one", "two"] {
        std::fs::create_dir(place.0.join(name)).unwrap();
        std::fs::write(place.0.join(name).join("a.json"), name).unwrap();
    }
    std::os::unix::fs::symlink("one", place.folder()).unwrap();
    let mut followed = place.start();
    followed.until(&[("a.json", "one")]).await;
    std::os::unix::fs::symlink("two", place.0.join("next")).unwrap();
    std::fs::rename(place.0.join("next"), place.folder()).unwrap();
    followed.until(&[("a.json", "two")]).await;
    std::fs::write(place.0.join("two/a.json"), "three").unwrap();
    followed.until(&[("a.json", "three")]).await;
}

#[tokio::test]
async fn a_folder_that_vanishes_changes_nothing() {
    let place = Place::new();
    place.write("a.json", "1");
    let mut followed = place.start();
    followed.until(&[("a.json", "1")]).await;
    let aside = place.0.join("aside");
    std::fs::rename(place.folder(), &aside).unwrap();
    let reason = followed.next().await.unwrap_err();
    assert!(reason.starts_with(&place.folder().display().to_string()), "{reason}");
    assert_eq!(followed.files.len(), 1);
    std::fs::write(aside.join("a.json"), "2").unwrap();
    std::fs::rename(&aside, place.folder()).unwrap();
    followed.until(&[("a.json", "2")]).await;
    place.write("a.json", "3");
    followed.until(&[("a.json", "3")]).await;
}

#[tokio::test]
async fn a_missing_folder_is_an_error_or_an_empty_one() {
    let place = Place::new();
    std::fs::remove_dir(place.folder()).unwrap();
    let mut needed = place.start();
    needed.next().await.unwrap_err();
    let mut optional = place.start_with(true);
    optional.next().await.unwrap();
    std::fs::create_dir(place.folder()).unwrap();
    place.write("a.json", "1");
    needed.until(&[("a.json", "1")]).await;
    optional.until(&[("a.json", "1")]).await;
}

#[tokio::test]
async fn what_cannot_be_read_is_named_and_the_rest_is_read() {
    let place = Place::new();
    place.write("good.json", "1");
    std::fs::create_dir(place.folder().join("folder.json")).unwrap();
    place.link("loop.json", "loop.json");
    place.link("nowhere", "dangling.json");
    place.link("/dev/zero", "endless.json");
    let large = std::fs::File::create(place.folder().join("large.json")).unwrap();
    large.set_len((8 << 20) + 1).unwrap();
    let mut followed = place.start();
    followed.next().await.unwrap();
    let names: Vec<&str> = followed.files.keys().map(String::as_str).collect();
    assert_eq!(names, ["good.json", "large.json", "loop.json"]);
    assert_eq!(followed.files["large.json"], "unreadable: it has more than 8388608 bytes");
    assert!(followed.files["loop.json"].starts_with("unreadable: "), "{:?}", followed.files);
    place.write("large.json", "2");
    std::fs::remove_file(place.folder().join("loop.json")).unwrap();
    followed.until(&[("good.json", "1"), ("large.json", "2")]).await;
}

#[test]
fn contents_are_not_shown() {
    let content = FileContent::Is(b"hunter2".to_vec());
    let change = FileChange { name: "a".to_owned(), content };
    assert_eq!(
        format!("{:?}", FolderNews::Changed(vec![change])),
        "Changed([FileChange { name: \"a\", content: Is(7 bytes) }])"
    );
}
