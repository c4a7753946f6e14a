//! Rules of the code base that no compiler checks.

use std::fs;
use std::path::{Path, PathBuf};

/// Words that code without I/O must not contain, and what to use instead.
const BANNED: [(&str, &str); 6] = [
    ("tokio", "time and bytes come in as arguments, actions go out"),
    ("std::net::Tcp", "the driver owns the sockets"),
    ("std::net::Udp", "the driver owns the sockets"),
    ("Instant::now", "the caller says what time it is"),
    ("SystemTime::now", "the caller says what time it is"),
    ("thread::sleep", "deadlines are values that the caller waits for"),
];

/// Lines of one source file, at most: beyond that it holds more than one concept.
const LINES_MAX: usize = 700;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is in the workspace").to_owned()
}

/// Every `.rs` file below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("reading {}: {error}", folder.display()));
    for path in entries.map(|entry| entry.expect("a readable folder").path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn assert_none(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn the_codec_and_the_engine_know_no_sockets_and_no_clock() {
    let mut problems = Vec::new();
    for folder in ["bgp-proto/src", "bgp-speaker/src/engine"] {
        for path in sources(&workspace().join(folder)) {
            let text = fs::read_to_string(&path).expect("a readable file");
            // A comment may name what the code may not use.
            let code = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
            for (number, line) in code {
                for (word, instead) in BANNED.iter().filter(|(word, _)| line.contains(word)) {
                    problems.push(format!(
                        "{}:{}: `{word}` is banned here: {instead}",
                        path.display(),
                        number + 1
                    ));
                }
            }
        }
    }
    assert_none(&problems);
}

#[test]
fn source_files_stay_short() {
    let too_long = sources(&workspace()).into_iter().filter_map(|path| {
        let count = fs::read_to_string(&path).expect("a readable file").lines().count();
        (count > LINES_MAX).then(|| format!("{}: {count} lines, more than {LINES_MAX}", path.display()))
    });
    assert_none(&too_long.collect::<Vec<_>>());
}

#[test]
fn nothing_is_left_to_do_in_comments() {
    // Written apart, so that this file does not find itself.
    let marks = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["XX", "X"].concat()];
    let mut problems = Vec::new();
    for path in sources(&workspace()) {
        let text = fs::read_to_string(&path).expect("a readable file");
        for (number, line) in text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark.as_str())) {
                problems.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    assert_none(&problems);
}

#[test]
fn the_tests_that_the_readme_names_exist() {
    let readme = fs::read_to_string(workspace().join("README.md")).expect("a readable file");
    let all: String =
        sources(&workspace()).iter().map(|path| fs::read_to_string(path).expect("a readable file")).collect();
    let rows =
        readme.lines().skip_while(|line| !line.starts_with("| RFC")).take_while(|line| line.starts_with('|'));
    let mut count = 0;
    let mut problems = Vec::new();
    for row in rows.skip(2) {
        let named = row.split('`').skip(1).step_by(2);
        let missing = named.inspect(|_| count += 1).filter(|name| !all.contains(&format!("fn {name}(")));
        problems.extend(missing.map(|name| format!("`{name}` is no test: {row}")));
    }
    assert!(count > 20, "the table was found");
    assert_none(&problems);
}
