//! The daemons that are measured, and how each is run as a reflector for all clients of a [`Site`].

mod config;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::{User, chown};

use super::site::{CLIENT_RANGE, DAEMON, Site};
use crate::command::need_program;
use crate::daemons::ours::Program;
use crate::error::LabError;
use crate::process::Process;
use crate::wait::secs;

/// One daemon in one configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contender {
    /// What it is called in the report.
    pub name: String,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Ours,
    Bird,
    Frr {
        is_tuned: bool,
    },
    OpenBgpd,
    GoBgp,
    /// Any other, as a shell command.
    Other(String),
}

/// Names of the daemons that this benchmark knows.
pub const KNOWN: [&str; 6] = ["ours", "bird2", "frr", "frr-tuned", "openbgpd", "gobgpd"];

/// What a command given by the user finds in its environment.
pub const COMMAND_HELP: &str = "\
COMMAND is run by sh in the namespace of the run and must listen on 10.99.0.1 port 179 as AS 64512, a reflector for
every client in 10.99.0.0/16. It finds in its environment:
  BENCH_FOLDER   an empty folder of its own
  BENCH_CLIENTS  a file with the address of every client, one per line
  BENCH_OURS, BENCH_BIRD, BENCH_FRR, BENCH_FRR_TUNED, BENCH_OPENBGPD, BENCH_GOBGPD
                 ready configuration files in the language of each known daemon
for example --peer 'old=/tmp/route-reflector run --config $BENCH_OURS'
            --peer 'bird3=/opt/bird3/bird -f -c $BENCH_BIRD -s $BENCH_FOLDER/bird.ctl'";

impl Contender {
    /// One of [`KNOWN`].
    #[must_use]
    pub fn known(name: &str) -> Option<Contender> {
        let kind = match name {
            "ours" => Kind::Ours,
            "bird2" => Kind::Bird,
            "frr" => Kind::Frr { is_tuned: false },
            "frr-tuned" => Kind::Frr { is_tuned: true },
            "openbgpd" => Kind::OpenBgpd,
            "gobgpd" => Kind::GoBgp,
            _ => return None,
        };
        Some(Contender { name: name.to_owned(), kind })
    }

    /// One from the command line.
    #[must_use]
    pub fn other(name: &str, command: &str) -> Contender {
        Contender { name: name.to_owned(), kind: Kind::Other(command.to_owned()) }
    }

    /// Whether it is this project's own.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.kind == Kind::Ours
    }

    /// Its version as it tells it; fails if it is not installed.
    ///
    /// # Errors
    /// [`LabError::Missing`].
    pub fn version(&self) -> Result<String, LabError> {
        let (program, argument) = match &self.kind {
            Kind::Other(command) => return Ok(command.clone()),
            Kind::OpenBgpd => (self.program()?, "-V"),
            _ => (self.program()?, "--version"),
        };
        let output =
            Command::new(program).arg(argument).output().map_err(LabError::io("asking for a version"))?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        Ok(text.lines().next().unwrap_or_default().trim().to_owned())
    }

    fn program(&self) -> Result<PathBuf, LabError> {
        match &self.kind {
            Kind::Ours => Program::RouteReflector.path(),
            Kind::Bird => need_program("bird", "bird2"),
            Kind::Frr { .. } => need_program("/usr/lib/frr/bgpd", "frr"),
            Kind::OpenBgpd => need_program("/usr/sbin/bgpd", "openbgpd"),
            Kind::GoBgp => need_program("gobgpd", "gobgpd"),
            Kind::Other(_) => need_program("sh", "dash"),
        }
    }

    /// Starts it, and returns when it listens.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(&self, site: &Site) -> Result<Process, LabError> {
        let files = Files::write(site)?;
        let folder = site.folder.display();
        let mut command = Command::new(self.program()?);
        match &self.kind {
            Kind::Ours => {
                command.args(["run", "--config"]).arg(&files.ours);
                if std::env::var_os("RUST_LOG").is_none() {
                    command.env("RUST_LOG", "warn");
                }
            }
            Kind::Bird => {
                command.arg("-f").arg("-c").arg(&files.bird).args(["-s", &format!("{folder}/bird.ctl")]);
                command.args(["-P", &format!("{folder}/bird.pid")]);
            }
            Kind::Frr { is_tuned } => {
                // The user `frr` writes its sockets and its pid file here.
                give_to("frr", &site.folder)?;
                let file = if *is_tuned { &files.frr_tuned } else { &files.frr };
                give_to("frr", file)?;
                command.arg("-Z").arg("-f").arg(file).args(["-i", &format!("{folder}/bgpd.pid")]);
                command.arg("--vty_socket").arg(&site.folder).args(["-P", "0"]);
                command.args(["-l", &DAEMON.to_string(), "--limit-fds", "8192"]);
            }
            Kind::OpenBgpd => {
                crate::daemons::openbgpd::make_chroot()?;
                command.arg("-d").arg("-f").arg(&files.openbgpd);
            }
            Kind::GoBgp => {
                command.args(["--pprof-disable", "--log-level", "panic", "-f"]).arg(&files.gobgpd);
            }
            Kind::Other(line) => {
                command.arg("-c").arg(line);
                files.export(&mut command, site);
            }
        }
        let mut process =
            Process::spawn(&site.namespace, &self.name, &site.folder.join("daemon.log"), command)?;
        let what = format!("{} to listen", self.name);
        process.wait_ready(&what, secs(20), || match site.is_listening() {
            Ok(true) => Ok(()),
            Ok(false) => Err("nothing listens on port 179".to_owned()),
            Err(error) => Err(error.to_string()),
        })?;
        Ok(process)
    }
}

/// One configuration per daemon, all for the same reflector.
struct Files {
    ours: PathBuf,
    bird: PathBuf,
    frr: PathBuf,
    frr_tuned: PathBuf,
    openbgpd: PathBuf,
    gobgpd: PathBuf,
    clients: PathBuf,
}

impl Files {
    fn write(site: &Site) -> Result<Files, LabError> {
        let write = |name: &str, text: String| {
            let path = site.folder.join(name);
            fs::write(&path, text)
                // OpenBGPD takes no file that others may read.
                .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o600)))
                .map_err(LabError::io(format!("writing {name}")))?;
            Ok::<_, LabError>(path)
        };
        let clients: String = site.clients.iter().map(|address| format!("{address}\n")).collect();
        Ok(Files {
            ours: write("ours.toml", config::ours(&site.folder))?,
            bird: write("bird.conf", config::bird(&site.clients))?,
            frr: write("frr.conf", config::frr(false))?,
            frr_tuned: write("frr-tuned.conf", config::frr(true))?,
            openbgpd: write("openbgpd.conf", config::openbgpd(&site.folder))?,
            gobgpd: write("gobgpd.toml", config::gobgpd())?,
            clients: write("clients", clients)?,
        })
    }

    fn export(&self, command: &mut Command, site: &Site) {
        command.env("BENCH_FOLDER", &site.folder).env("BENCH_CLIENTS", &self.clients);
        command.env("BENCH_OURS", &self.ours).env("BENCH_BIRD", &self.bird);
        command.env("BENCH_FRR", &self.frr).env("BENCH_FRR_TUNED", &self.frr_tuned);
        command.env("BENCH_OPENBGPD", &self.openbgpd).env("BENCH_GOBGPD", &self.gobgpd);
    }
}

fn give_to(name: &str, path: &Path) -> Result<(), LabError> {
    let user = User::from_name(name).ok().flatten().ok_or_else(|| LabError::Missing {
        what: format!("the user `{name}`"),
        remedy: format!("install it with `apt-get install {name}`"),
    })?;
    chown(path, Some(user.uid), Some(user.gid)).map_err(|errno| LabError::Io {
        doing: format!("giving {} to {name}", path.display()),
        source: errno.into(),
    })
}
