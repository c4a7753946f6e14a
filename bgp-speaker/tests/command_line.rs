//! What an operator sees of a running daemon: the real program on loopback, asked by its own commands.

#![allow(clippy::disallowed_methods, reason = "tests wait for the world, within limits")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

const BIN: &str = env!("CARGO_BIN_EXE_bgp-speaker");
const PATIENCE: Duration = Duration::from_secs(60);

/// A daemon, and where it is.
struct Daemon {
    directory: PathBuf,
    child: Child,
    listen: SocketAddr,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
        _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Daemon {
    /// On 127.0.`net`.1, with this in its file.
    fn start(net: u8, text: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("bgp-command-{}-{net}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let socket = TcpListener::bind((format!("127.0.{net}.1"), 0)).expect("a port");
        let listen = socket.local_addr().expect("bound");
        drop(socket);
        let shown = directory.display();
        let text = format!(
            "router_id = \"127.0.{net}.1\"\nlisten = [\"{listen}\"]\n{text}\n\
             [admin]\nlisten = \"off\"\nsocket = \"{shown}/admin.sock\"\n"
        );
        let file = directory.join("bgp.toml");
        std::fs::write(&file, text).expect("a file");
        let log = std::fs::File::create(directory.join("log")).expect("a log");
        let mut command = Command::new(BIN);
        command.arg("run").arg("--config").arg(file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let daemon = Self { directory, child: command.spawn().expect("it starts"), listen };
        daemon.until("it answers", |daemon| daemon.ask(&["status"]).status.success());
        daemon
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BIN);
        command.args(arguments).arg("--socket").arg(self.directory.join("admin.sock")).stdin(Stdio::null());
        command
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("it runs")
    }

    fn shown(&self, arguments: &[&str]) -> String {
        let output = self.ask(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let started = Instant::now();
        while !is_so(self) {
            assert!(started.elapsed() < PATIENCE, "{what}");
            std::thread::yield_now();
        }
    }

    /// An announcement through the admin API.
    fn announce(&self, prefix: &str) {
        let mut stream = UnixStream::connect(self.directory.join("admin.sock")).expect("it listens");
        let request = format!(
            "PUT /v1/announcements/{prefix} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).expect("a log")
    }
}

/// More than one page of the command line.
const MANY: usize = 11_000;

#[test]
fn a_big_table_is_shown_whole() {
    let routes =
        (0..MANY).map(|number| format!("{{ prefix = \"10.{}.{}.0/24\" }}", number / 256, number % 256));
    let text = format!("[announce]\nroutes = [{}]\n", routes.collect::<Vec<_>>().join(", "));
    let daemon = Daemon::start(21, &text);
    let shown = daemon.shown(&["routes"]);
    let prefixes: Vec<&str> = shown.lines().map(|line| line[3..17].trim_end()).collect();
    assert_eq!(prefixes.len(), 1 + MANY);
    assert_eq!((prefixes[0], prefixes[1], prefixes[MANY]), ("PREFIX", "10.0.0.0/24", "10.42.247.0/24"));
    let json: serde_json::Value = serde_json::from_str(&daemon.shown(&["routes", "--json"])).expect("JSON");
    let listed: Vec<&str> = json
        .as_array()
        .expect("a list")
        .iter()
        .map(|route| route["prefix"].as_str().expect("text"))
        .collect();
    assert_eq!(listed, prefixes[1..]);

    let some = daemon.ask(&["routes", "--limit", "7"]);
    assert_eq!(String::from_utf8_lossy(&some.stdout).lines().count(), 8);
    assert_eq!(
        String::from_utf8_lossy(&some.stderr),
        "note: there are more routes; raise --limit, or name a PREFIX\n"
    );
    assert_eq!(daemon.shown(&["routes", "192.0.2.0/24"]), "no routes\n");
    assert_eq!(daemon.shown(&["routes", "192.0.2.0/24", "--json"]), "[]\n");
}

/// A command that goes on, line by line.
struct Watch {
    child: Child,
    out: std::io::Lines<BufReader<ChildStdout>>,
    errors: BufReader<ChildStderr>,
}

impl Watch {
    /// Returns once it watches.
    fn start(daemon: &Daemon, arguments: &[&str]) -> Self {
        let mut command = daemon.command(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        let mut note = String::new();
        let mut errors = BufReader::new(child.stderr.take().expect("piped"));
        errors.read_line(&mut note).expect("text");
        assert_eq!(note, "note: watching; Ctrl-C ends\n");
        let out = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, out, errors }
    }

    fn line(&mut self) -> String {
        self.out.next().expect("a line").expect("text")
    }
}

#[test]
fn what_happens_is_printed_as_it_happens() {
    let mut daemon = Daemon::start(22, "[[neighbors]]\naddress = \"127.0.22.9\"\npassive = true\n");
    let mut all = Watch::start(&daemon, &["watch"]);
    let mut routes = Watch::start(&daemon, &["watch", "--routes", "--json"]);
    daemon.announce("10.9.0.0/24");
    // A change of the configuration and what follows from it are told by two who do not wait for each other.
    let mut lines = [all.line(), all.line()].map(|line| line[12..].to_owned());
    lines.sort();
    assert!(lines[0].starts_with(" config: announce 10.9.0.0/24"), "{lines:?}");
    assert_eq!(lines[1], " route 10.9.0.0/24 from local");
    let json: serde_json::Value = serde_json::from_str(&routes.line()).expect("JSON");
    assert_eq!((&json["event"], &json["prefix"]), (&"route".into(), &"10.9.0.0/24".into()));

    // SIGTERM: who watches is told, and does not wait for ever.
    let terminated = Command::new("kill").arg(daemon.child.id().to_string()).status();
    assert!(terminated.is_ok_and(|status| status.success()));
    assert!(daemon.child.wait().expect("it ends").success());
    let json: serde_json::Value = serde_json::from_str(&routes.line()).expect("JSON");
    assert_eq!(json["event"], "end");
    for watch in [&mut all, &mut routes] {
        let mut text = String::new();
        watch.errors.read_line(&mut text).expect("text");
        assert_eq!(text, "bgp-speaker: the daemon has ended; start to watch again once it is back\n");
        assert_eq!(watch.child.wait().expect("it ends").code(), Some(1));
    }
}

#[test]
fn malformed_messages_can_be_looked_at() {
    let daemon = Daemon::start(23, "[[listen_ranges]]\nprefix = \"127.0.0.0/8\"\n");
    assert_eq!(daemon.shown(&["malformed"]), "no malformed messages since the start\n");
    let mut peer = TcpStream::connect(daemon.listen).expect("it listens");
    let from = peer.local_addr().expect("bound").ip().to_string();
    peer.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("it reads");
    let title = format!("not a message from {from}, ");
    daemon.until("it is kept", |daemon| daemon.shown(&["malformed"]).starts_with(&title));
    let shown = daemon.shown(&["malformed", &from]);
    assert!(shown.contains("\n  session-reset: the marker is not all ones\n"), "{shown}");
    assert!(shown.contains("\n  0000  47 45 54 20 2f 20 48 54 54 50 2f 31 2e 31 0d 0a\n"), "{shown}");
    let json: serde_json::Value =
        serde_json::from_str(&daemon.shown(&["malformed", "--json"])).expect("JSON");
    assert_eq!((&json[0]["neighbor"], &json[0]["message"]), (&from.into(), &"none".into()));
    let missing = daemon.ask(&["malformed", "127.0.0.77"]);
    assert_eq!(missing.status.code(), Some(1));
    let text = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(text.starts_with("bgp-speaker: there is no neighbour 127.0.0.77"), "{text}");
}

#[test]
fn refused_connections_fill_no_log() {
    let daemon = Daemon::start(24, "");
    for _ in 0..50 {
        let mut peer = TcpStream::connect(daemon.listen).expect("it listens");
        peer.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        // Closed, or reset: either way it is over.
        assert!(matches!(peer.read(&mut [0]), Ok(0) | Err(_)));
    }
    let log = daemon.log();
    assert_eq!(log.matches("connection refused").count(), 1, "{log}");
}

#[test]
fn top_needs_a_terminal_and_has_json_for_programs() {
    let daemon = Daemon::start(25, "[[neighbors]]\naddress = \"127.0.25.9\"\npassive = true\n");
    let output = daemon.ask(&["top"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stderr).starts_with("top needs a terminal; for a program use --json")
    );
    let mut command = daemon.command(&["top", "--json"]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("it runs");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    for look in 0..2 {
        let line = lines.next().expect("a line").expect("text");
        let json: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(json["neighbors"][0]["address"], "127.0.25.9");
        assert!(json["memory_bytes"]["process"].as_u64().is_some_and(|octets| octets > 1 << 20), "{line}");
        assert_eq!(json["updates_per_second"]["received"].is_null(), look == 0, "{line}");
    }
    child.kill().expect("it runs");
    child.wait().expect("it ends");
}
