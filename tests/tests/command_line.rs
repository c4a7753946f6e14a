//! What the operator sees when something is wrong: every error of a file at once, and one clear sentence for the rest.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use bgp_lab::daemons::ours::{Ours, Program};
use bgp_lab::harness::{lab_test, skip_or_fail};
use bgp_lab::raw_peer::listen;
use bgp_lab::{Daemon, LabError, SpeakerSpec, secs, wait_until};

/// Line 2, 6 and 10 are wrong, each in another way.
const BROKEN: &str = "asn = 64512
router_idd = \"10.0.0.1\"

[[neighbors]]
address = \"10.0.0.2\"
remote_as = \"many\"

[[neighbors]]
address = \"10.0.0.3\"
hold_time = 2
";

/// Runs one of our programs to its end.
fn run(program: Program, arguments: &[&str], folder: &Path) -> Result<Output, LabError> {
    let mut command = Command::new(program.path()?);
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).env_remove("RUST_LOG");
    command.output().map_err(LabError::io("starting a program"))
}

fn text_of(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn check_reports_every_error_at_once_with_file_line_and_key() {
    let folder = std::env::temp_dir().join(format!("lab-{}-check", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("broken.toml"), BROKEN).expect("a file");
    for program in [Program::BgpSpeaker, Program::RouteReflector] {
        let name = format!("check_reports_every_error_at_once::{}", program.name());
        let output = match run(program, &["check", "--config", "broken.toml"], &folder) {
            Ok(output) => output,
            Err(error) => {
                skip_or_fail(&name, &error);
                continue;
            }
        };
        let text = text_of(&output);
        assert_eq!(output.status.code(), Some(2), "{text}");
        for (line, key) in [(2, "router_idd"), (6, "remote_as"), (10, "hold_time")] {
            let place = format!("broken.toml:{line}");
            let found = text.lines().any(|row| row.contains(&place) && row.contains(key));
            assert!(found, "{} does not name {place} with {key}:\n{text}", program.name());
        }
        assert!(text.contains("router_id"), "the nearest known key is named:\n{text}");
    }
    let _ = fs::remove_dir_all(folder);
}

#[test]
fn a_port_in_use_is_one_clear_sentence() {
    lab_test("port-in-use", |lab| {
        let switch = lab.switch("switch")?;
        let node = lab.node(
            &switch,
            "node",
            "10.9.2.1/24".parse().expect("an address"),
            "fd00:9:2::1/64".parse().expect("an address"),
        )?;
        let _holder = listen(&node.namespace, "0.0.0.0".parse().expect("an address"))?;
        let mut ours = Ours::new(lab, &node, Program::BgpSpeaker, SpeakerSpec::on(&node, 64512))?;
        ours.write_config()?;
        // `start` waits for the admin socket, so the end of the process shows as its error.
        let error = ours.start().expect_err("a daemon without its port must not run").to_string();
        let sentences = error
            .lines()
            .filter(|line| line.contains("179") && line.contains("in use") || line.contains("has that port"));
        if sentences.count() == 0 || error.contains("panicked") {
            return Err(LabError::Unexpected {
                what: "the daemon's last words".into(),
                expected: "a sentence about port 179 being in use".into(),
                seen: error,
            });
        }
        Ok(())
    });
}

#[test]
fn without_a_file_the_defaults_apply_and_are_said() {
    lab_test("no-file", |lab| {
        let switch = lab.switch("switch")?;
        let node = lab.node(
            &switch,
            "node",
            "10.9.3.1/24".parse().expect("an address"),
            "fd00:9:3::1/64".parse().expect("an address"),
        )?;
        let log = lab.folder().join("no-file.log");
        let command = {
            // The default admin socket is in /run: a mount namespace keeps it off the host's.
            let mut command = Command::new("unshare");
            command.args(["-m", "sh", "-c", "mount -t tmpfs tmpfs /run && exec \"$0\" run"]);
            command.arg(Program::BgpSpeaker.path()?).env("RUST_LOG", "info");
            command
        };
        let mut process = bgp_lab::process::Process::spawn(&node.namespace, "bgp-speaker", &log, command)?;
        wait_until("the log to name the default AS", secs(10), || {
            let text = fs::read_to_string(&log).unwrap_or_default();
            process.must_run().map_err(|error| error.to_string())?;
            if text.contains("64512") { Ok(()) } else { Err(text) }
        })?;
        process.stop();
        let status = process.wait_end(Duration::from_secs(1));
        if status.is_some_and(|status| status.success()) {
            return Ok(());
        }
        Err(LabError::Unexpected {
            what: "the end after SIGTERM".into(),
            expected: "exit code 0".into(),
            seen: format!("{status:?}"),
        })
    });
}
