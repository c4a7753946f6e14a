//! Short-lived helper commands: run to the end, keep what they print.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use crate::error::LabError;

/// Where system programs live even when `PATH` does not say so.
const SYSTEM_DIRS: [&str; 5] = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// Finds a program in `PATH` and the usual system folders.
#[must_use]
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SYSTEM_DIRS.iter().map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|candidate| candidate.is_file())
}

/// Like [`find_program`], with an error that names the Debian package.
///
/// # Errors
/// [`LabError::Missing`] if the program is not installed.
pub fn need_program(name: &str, package: &str) -> Result<PathBuf, LabError> {
    let found = if name.starts_with('/') {
        Some(PathBuf::from(name)).filter(|path| path.is_file())
    } else {
        find_program(name)
    };
    found.ok_or_else(|| LabError::Missing {
        what: format!("the program `{name}`"),
        remedy: format!("install it with `apt-get install {package}`"),
    })
}

/// Runs a command to its end and returns its standard output.
///
/// # Errors
/// [`LabError::Command`] if it ends with a failure, [`LabError::Io`] if it cannot start.
pub fn output_of(command: &mut Command) -> Result<String, LabError> {
    output_with_input(command, "")
}

/// Runs a command to its end with text on its standard input.
///
/// # Errors
/// As [`output_of`].
pub(crate) fn output_with_input(command: &mut Command, input: &str) -> Result<String, LabError> {
    let line = command_line(command);
    command.stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(LabError::io(format!("starting `{line}`")))?;
    let stdin = child.stdin.take();
    let output = thread::scope(|scope| {
        if let Some(mut pipe) = stdin {
            // A command that ends early closes the pipe: its own status tells more than the broken pipe.
            scope.spawn(move || pipe.write_all(input.as_bytes()).ok());
        }
        child.wait_with_output()
    })
    .map_err(LabError::io(format!("waiting for `{line}`")))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let output_text = format!("{}{}", stderr.trim(), stdout.trim());
    Err(LabError::Command { command: line, status: output.status, output: output_text })
}

/// The command as one would type it, for messages.
fn command_line(command: &Command) -> String {
    let program =
        Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let arguments = command.get_args().map(|argument| argument.to_string_lossy().into_owned());
    std::iter::once(program).chain(arguments).collect::<Vec<_>>().join(" ")
}
