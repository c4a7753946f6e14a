use super::*;
use std::os::unix::fs::PermissionsExt;

fn entry(key: &str, value: Option<&str>, revision: i64) -> Entry {
    Entry { key: key.to_owned(), value: value.map(|value| value.as_bytes().to_vec()), revision }
}

fn listed(entries: Vec<Entry>, revision: i64) -> Update {
    Update::Listed { entries, revision }
}

fn changed(changes: Vec<Entry>) -> Update {
    Update::Changed { changes, revision: 0 }
}

/// A file of this test alone, gone with it.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("bgp-cache-{}-{name}", std::process::id())))
    }

    fn cache(&self) -> Cache {
        Cache::new(self.0.join("cache"), "node-a, calico")
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.0.join("cache")).unwrap()
    }

    fn overwrite(&self, bytes: &[u8]) {
        std::fs::write(self.0.join("cache"), bytes).unwrap();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_was_kept_is_read_back() {
    let place = Place::new("kept");
    let mut cache = place.cache();
    assert_eq!(cache.load().unwrap(), None);
    cache.keep(&listed(vec![entry("/a", Some("1"), 5), entry("/b", Some("{\n}"), 6)], 7)).unwrap();
    let rounds = [
        (vec![entry("/a", Some("2"), 8)], vec![entry("/a", Some("2"), 8), entry("/b", Some("{\n}"), 6)], 8),
        (
            vec![entry("/b", None, 9), entry("/c", Some(""), 9)],
            vec![entry("/a", Some("2"), 8), entry("/c", Some(""), 9)],
            9,
        ),
    ];
    for (changes, expected, revision) in rounds {
        cache.keep(&changed(changes)).unwrap();
        assert_eq!(place.cache().load().unwrap(), Some(listed(expected, revision)));
    }
    let mode = std::fs::metadata(cache.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_file_that_was_cut_off_or_damaged_anywhere_gives_what_is_whole() {
    let place = Place::new("cut");
    let mut cache = place.cache();
    cache.keep(&listed(vec![entry("/a", Some("1"), 5)], 5)).unwrap();
    cache.keep(&changed(vec![entry("/b", Some("2"), 6)])).unwrap();
    let whole = place.bytes();
    let lengths: Vec<usize> = whole.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::len).collect();
    let expected = |bytes: usize| match bytes {
        bytes if bytes < lengths[0] => None,
        bytes if bytes < lengths[0] + lengths[1] => Some(0),
        bytes if bytes < whole.len() => Some(1),
        _ => Some(2),
    };
    let count = |update: Result<Option<Update>, CacheError>| match update {
        Ok(Some(Update::Listed { entries, .. })) => Some(entries.len()),
        Ok(other) => panic!("{other:?}"),
        Err(CacheError::Foreign { .. }) => None,
        Err(error) => panic!("{error}"),
    };
    for bytes in 0..=whole.len() {
        place.overwrite(&whole[..bytes]);
        assert_eq!(count(cache.load()), expected(bytes), "cut after {bytes}");
    }
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        place.overwrite(&damaged);
        assert_eq!(count(cache.load()), expected(at), "damaged at {at}");
    }
}

#[test]
fn what_was_appended_does_not_grow_for_ever() {
    let place = Place::new("grow");
    let mut cache = place.cache();
    cache.keep(&listed(vec![entry("/a", Some("0"), 1)], 1)).unwrap();
    let value = "x".repeat(1000);
    for revision in 2..5000 {
        cache.keep(&changed(vec![entry("/a", Some(&value), revision)])).unwrap();
    }
    assert!(place.bytes().len() < 2 << 20, "{}", place.bytes().len());
    assert_eq!(cache.load().unwrap(), Some(listed(vec![entry("/a", Some(&value), 4999)], 4999)));
}

#[test]
fn the_file_of_another_node_is_refused() {
    let place = Place::new("other");
    place.cache().keep(&listed(vec![], 1)).unwrap();
    let error = Cache::new(place.0.join("cache"), "node-b, calico").load().unwrap_err();
    assert!(error.to_string().contains("it is of \"node-a, calico\""), "{error}");
}

#[test]
fn a_place_that_cannot_be_written_is_an_error() {
    let error = Cache::new("/proc/none/cache", "a").keep(&listed(vec![], 1)).unwrap_err();
    assert!(matches!(error, CacheError::Io { .. }), "{error}");
}
