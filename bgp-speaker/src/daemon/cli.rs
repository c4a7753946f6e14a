//! The command line: what can be asked for, and how failure is told.

mod check;
mod client;
mod drain;
mod events;
mod explain;
mod malformed;
mod neighbors;
mod node;
mod output;
mod plan;
mod routes;
mod status;
mod watch;

use super::Program;
use super::file::DEFAULT_SOCKET;
use super::run::{self, LogFormat};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use client::{AdminClient, ClientError};
use std::path::PathBuf;
use std::process::ExitCode;

/// A BGP-4 daemon and the commands to look after it.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon in the foreground. SIGHUP reloads the file; SIGTERM and SIGINT restart gracefully: routes stay
    Run(RunArgs),
    /// Check a configuration file and report every mistake
    Check(check::CheckArgs),
    /// Show what a configuration file would change, step by step
    Plan(plan::PlanArgs),
    /// Show who we are, sessions by state, routes by family, and the kernel's side
    Status(ReadArgs),
    /// Show all neighbours, or everything about one
    Neighbors(neighbors::NeighborsArgs),
    /// Show routes
    Routes(routes::RoutesArgs),
    /// Show why a prefix is where it is: its paths, whom it is told, what the kernel does with it
    Explain(explain::ExplainArgs),
    /// Show the nodes that registered themselves
    Node(node::NodeArgs),
    /// Show the last messages of neighbours that could not be read or used
    Malformed(malformed::MalformedArgs),
    /// Print what happens as it happens: sessions, best routes, configuration, kernel
    Watch(watch::WatchArgs),
    /// Leave: withdraw every route, close all sessions, clean the kernel, end the daemon
    Drain(SocketArgs),
}

/// Arguments of `run`.
#[derive(Debug, Args)]
struct RunArgs {
    /// Configuration file; without it, defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How log lines on stderr look; RUST_LOG chooses which there are
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
}

/// Where the daemon is.
#[derive(Debug, Args)]
struct SocketArgs {
    /// The daemon's admin socket
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
}

/// Arguments of every command that reads from the daemon.
#[derive(Debug, Args)]
struct ReadArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    daemon: SocketArgs,
}

impl SocketArgs {
    fn client(&self) -> AdminClient {
        AdminClient::new(self.socket.clone())
    }
}

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub(super) enum Failure {
    /// Exit code 1.
    Failed(String),
    /// Exit code 2: what was given makes no sense.
    Invalid(String),
    /// It is in the log already.
    Logged {
        /// The exit code.
        code: u8,
    },
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let message = error.to_string();
        match error {
            ClientError::Refused { status: 400 | 422, .. } => Failure::Invalid(message),
            _ => Failure::Failed(message),
        }
    }
}

/// Reads the command line of this process and does what it says.
pub(super) fn main(program: Program) -> ExitCode {
    let parsed =
        Cli::command().name(program.name()).try_get_matches().and_then(|m| Cli::from_arg_matches(&m));
    let command = match parsed {
        Ok(cli) => cli.command,
        Err(error) => {
            // Help and version are not mistakes; clap knows, and writes to the right stream.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match execute(program, command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Failed(message)) => {
            eprintln!("{}: {message}", program.name());
            ExitCode::from(1)
        }
        Err(Failure::Invalid(message)) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
        Err(Failure::Logged { code }) => ExitCode::from(code),
    }
}

fn execute(program: Program, command: Command) -> Result<(), Failure> {
    let mut builder = match command {
        Command::Run(_) => tokio::runtime::Builder::new_multi_thread(),
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    let runtime = builder
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("cannot start: {}", super::advice::io_text(&error))))?;
    runtime.block_on(async {
        match command {
            Command::Run(args) => run::run(program, args.config, args.log_format).await,
            Command::Check(args) => check::check(program, &args),
            Command::Plan(args) => plan::plan(program, &args).await,
            Command::Status(args) => status::status(&args).await,
            Command::Neighbors(args) => neighbors::neighbors(&args).await,
            Command::Routes(args) => routes::routes(&args).await,
            Command::Explain(args) => explain::explain(&args).await,
            Command::Node(args) => node::node(&args).await,
            Command::Malformed(args) => malformed::malformed(&args).await,
            Command::Watch(args) => watch::watch(&args).await,
            Command::Drain(args) => drain::drain(&args).await,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        Cli::try_parse_from(line.split(' ')).map(|cli| cli.command)
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn documented_commands_are_understood() {
        for line in [
            "x run",
            "x run --config bgp.toml --log-format json",
            "x check --config bgp.toml --effective",
            "x plan --json",
            "x status --socket /tmp/a.sock",
            "x neighbors 10.0.0.2 --json",
            "x routes 10.0.0.0/8 --longer -v",
            "x routes --received 10.0.0.2",
            "x routes --advertised fd00::2 --json",
            "x routes --best",
            "x explain 10.0.0.0/8 --to 10.0.0.2 --json",
            "x node list --json",
            "x node show node-a --socket /tmp/a.sock",
            "x malformed",
            "x malformed 10.0.0.2 --json",
            "x watch --routes",
            "x watch --neighbors --json",
            "x drain",
        ] {
            assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
        }
    }

    #[test]
    fn usage_errors_have_exit_code_2() {
        for line in [
            "x fly",
            "x check",
            "x routes --received",
            "x routes --best --received 10.0.0.1",
            "x run --log-format xml",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
        assert_eq!(parse("x --version").unwrap_err().exit_code(), 0);
    }
}
