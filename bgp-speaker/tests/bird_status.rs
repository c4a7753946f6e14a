//! Status in BIRD's words, asked for by BIRD's own client and by clients that behave badly: real processes on loopback.

#![allow(clippy::disallowed_methods, reason = "tests wait for the world, within limits")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const BIN: &str = env!("CARGO_BIN_EXE_bgp-speaker");
const PATIENCE: Duration = Duration::from_secs(60);

/// Two daemons with an IPv4 session between them, the first of which tells its status.
struct Pair {
    directory: PathBuf,
    daemons: Vec<Child>,
}

impl Drop for Pair {
    fn drop(&mut self) {
        for daemon in &mut self.daemons {
            _ = daemon.kill();
            _ = daemon.wait();
        }
        _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Pair {
    fn start(name: &str, net: u8) -> Self {
        let directory = std::env::temp_dir().join(format!("bgp-bird-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let mut pair = Self { directory, daemons: Vec::new() };
        let (a, b) = (format!("127.0.{net}.1"), format!("127.0.{net}.2"));
        let socket = std::net::TcpListener::bind((a.as_str(), 0)).expect("a port");
        let port = socket.local_addr().expect("bound").port();
        drop(socket);
        let directory = pair.directory.display().to_string();
        pair.add(&format!(
            "router_id = \"{a}\"\nlisten = [\"{a}:{port}\"]\n\
             [graceful_restart]\nselection_deferral = 1\n\
             [[neighbors]]\naddress = \"{b}\"\nname = \"Mesh_{}\"\npassive = true\n\
             [[neighbors]]\naddress = \"::1\"\nname = \"Global___1\"\npassive = true\n\
             [announce]\nblocks = [\"10.1.0.0/26\"]\n\
             [bird_status]\nipv4 = \"{directory}/bird.ctl\"\nipv6 = \"{directory}/bird6.ctl\"\n",
            b.replace('.', "_")
        ));
        pair.add(&format!(
            "router_id = \"{b}\"\nlisten = []\n\
             [[neighbors]]\naddress = \"{a}\"\nport = {port}\nlocal_address = \"{b}\"\n\
             [announce]\nblocks = [\"10.2.0.0/26\"]\n"
        ));
        pair
    }

    fn add(&mut self, text: &str) {
        let (number, directory) = (self.daemons.len(), self.directory.display());
        let text = format!("{text}[admin]\nlisten = \"off\"\nsocket = \"{directory}/{number}.sock\"\n");
        let file = self.directory.join(format!("{number}.toml"));
        std::fs::write(&file, text).expect("a file");
        let log = std::fs::File::create(self.directory.join(format!("{number}.log"))).expect("a log");
        let mut command = Command::new(BIN);
        // As Calico's tools look for it.
        command.arg0("bird").arg("run").arg("--config").arg(file);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        self.daemons.push(child.expect("it starts"));
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// What BIRD's client shows.
    fn birdc(&self, socket: &str, command: &str) -> String {
        let mut birdc = Command::new("birdc");
        birdc.arg("-s").arg(self.socket(socket)).args(command.split(' ')).stdin(Stdio::null());
        let output = birdc.output().expect("birdc runs (Debian: bird2)");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Asks until the answer is as wanted.
    fn until(&self, socket: &str, command: &str, is_wanted: impl Fn(&str) -> bool) -> String {
        let started = Instant::now();
        loop {
            let shown = self.birdc(socket, command);
            if is_wanted(&shown) {
                return shown;
            }
            assert!(started.elapsed() < PATIENCE, "{command}: {shown}");
        }
    }

    fn client(&self) -> UnixStream {
        let stream = UnixStream::connect(self.socket("bird.ctl")).expect("the socket answers");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }
}

/// Everything up to the last line of an answer.
fn read_answer(stream: &mut UnixStream) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    loop {
        let start = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        assert_eq!(stream.read(&mut byte).expect("an answer"), 1, "{}", String::from_utf8_lossy(&text));
        text.push(byte[0]);
        let line = &text[start..];
        let is_last = line.len() > 5 && line[..4].iter().all(u8::is_ascii_digit) && line[4] == b' ';
        if byte[0] == b'\n' && is_last {
            return String::from_utf8(text).expect("text");
        }
    }
}

#[test]
fn birds_own_client_understands_every_answer() {
    let pair = Pair::start("client", 11);
    let up = |shown: &str| shown.contains("Established");
    let shown = pair.until("bird.ctl", "show protocols", up);
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[0].starts_with("BIRD bgp-speaker-") && lines[0].ends_with(" ready."), "{shown}");
    let headings: Vec<&str> = lines[1].split_whitespace().map(str::trim).collect();
    assert_eq!(headings, ["name", "proto", "table", "state", "since", "info"]);
    let columns: Vec<&str> = lines[2].split_whitespace().collect();
    assert_eq!(
        [columns[0], columns[1], columns[3], columns[5]],
        ["Mesh_127_0_11_2", "BGP", "up", "Established"]
    );
    assert_eq!(lines.len(), 3, "the IPv6 session is the other socket's: {shown}");
    let six = pair.birdc("bird6.ctl", "show protocols");
    assert!(six.contains("Global___1") && six.contains("Passive") && !six.contains("Mesh_"), "{six}");

    let shown = pair.until("bird.ctl", "show status", |shown| !shown.contains("recovery"));
    assert!(shown.contains("Router ID is 127.0.11.1\n"), "{shown}");
    for start in ["Current server time is 20", "Last reboot on 20", "Last reconfiguration on 20"] {
        assert!(shown.lines().any(|line| line.starts_with(start)), "{shown}");
    }
    assert_eq!(shown.lines().last(), Some("Daemon is up and running"));

    let shown = pair.birdc("bird.ctl", "show protocols all Mesh_127_0_11_2");
    let said = |what: &str| shown.lines().any(|line| line.trim_start().starts_with(what));
    assert!(said("BGP state:          Established") && said("Neighbor address: 127.0.11.2"), "{shown}");

    let shown = pair.until("bird.ctl", "show route", |shown| shown.contains("10.2.0.0/26"));
    let row = |prefix: &str| {
        let row = shown.lines().find(|line| line.starts_with(prefix)).expect("a row");
        row.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let own = row("10.1.0.0/26");
    assert_eq!([&own[1], &own[2], &own[4], &own[5]], ["blackhole", "[static1", "*", "(200)"]);
    let learned = row("10.2.0.0/26");
    assert_eq!(learned[1..6].join(" "), "via 127.0.11.2 on ? [Mesh_127_0_11_2");
    assert_eq!(learned[7..].join(" "), "* (100/0) [i]");
    assert!(pair.birdc("bird6.ctl", "show route").lines().count() == 1, "only the greeting");
    assert!(pair.birdc("bird.ctl", "show memory").contains("syntax error"));
}

#[test]
fn clients_that_behave_badly_disturb_nobody() {
    let pair = Pair::start("bad", 12);
    pair.until("bird.ctl", "show protocols", |shown| shown.contains("Established"));
    // Some say nothing, or ask a lot and read nothing.
    let silent: Vec<UnixStream> = (0..10).map(|_| pair.client()).collect();
    let greedy: Vec<UnixStream> = (0..10)
        .map(|_| {
            let mut stream = pair.client();
            stream.set_nonblocking(true).expect("no waiting");
            while stream.write_all("show protocols all\nshow route\n".repeat(50).as_bytes()).is_ok() {}
            stream
        })
        .collect();
    let mut many = pair.client();
    assert!(read_answer(&mut many).starts_with("0001 BIRD "));
    // Several commands at once, and one in two pieces.
    many.write_all(b"show status\nrestrict\nshow pro").expect("it listens");
    assert!(read_answer(&mut many).ends_with("0013 Daemon is up and running\n"));
    assert_eq!(read_answer(&mut many), "0016 Access restricted\n");
    many.write_all(b"tocols\nconfigure\n").expect("it listens");
    assert!(read_answer(&mut many).ends_with("Established\n0000 \n"));
    assert_eq!(read_answer(&mut many), "9001 syntax error\n");
    many.write_all(&[b'x'; 5000]).expect("it listens");
    assert_eq!(read_answer(&mut many), "9000 Command too long\n");
    let mut rest = Vec::new();
    // The rest of the line was not read, which may be told as an error.
    _ = many.read_to_end(&mut rest);
    assert_eq!(rest, b"");
    let shown = pair.birdc("bird.ctl", "show protocols");
    assert!(shown.contains("Established"), "{shown}");
    drop((silent, greedy));
}

#[test]
fn the_daemon_runs_under_birds_name_and_leaves_no_socket_behind() {
    let mut pair = Pair::start("name", 13);
    pair.until("bird.ctl", "show status", |shown| shown.contains("up and running"));
    let daemon = &mut pair.daemons[0];
    let arguments = std::fs::read(format!("/proc/{}/cmdline", daemon.id())).expect("it runs");
    assert_eq!(arguments.split(|byte| *byte == 0).next(), Some(b"bird".as_slice()));
    let kill = Command::new("kill").arg(daemon.id().to_string()).status().expect("kill runs");
    assert!(kill.success() && daemon.wait().expect("it ends").success());
    for name in ["bird.ctl", "bird6.ctl"] {
        assert!(!pair.socket(name).exists(), "{name}");
    }
}
