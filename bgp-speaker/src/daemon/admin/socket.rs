//! The unix socket: made with its permissions, and never taken from a daemon that still answers.

use crate::daemon::advice::io_text;
use axum::serve::Listener;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use tokio::net::UnixListener;

/// Owner and group may talk to the daemon.
const MODE: u32 = 0o660;

/// A listening socket whose file goes away with it. The file goes first: a daemon that is started meanwhile finds
/// either a socket that answers or none, and its own file is never removed by us.
#[derive(Debug)]
pub(super) struct AdminSocket {
    _file: SocketFile,
    listener: UnixListener,
}

impl Listener for AdminSocket {
    type Io = tokio::net::UnixStream;
    type Addr = tokio::net::unix::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        Listener::accept(&mut self.listener).await
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // If somebody else removed it already, that is as good.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Listens at `path`, with the directories above it made.
///
/// # Errors
/// One sentence for the operator.
pub(super) fn bind(path: &Path) -> Result<AdminSocket, String> {
    let shown = path.display();
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(|error| {
            let reason = io_text(&error);
            format!("cannot make the directory of the admin socket {shown}: {reason}; run as root, or set admin.socket")
        })?;
    }
    remove_stale(path)?;
    let listener = UnixListener::bind(path).map_err(|error| {
        format!("cannot make the admin socket {shown}: {}; run as root, or set admin.socket", io_text(&error))
    })?;
    let _file = SocketFile { path: path.to_owned() };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(MODE))
        .map_err(|error| format!("cannot set the permissions of {shown}: {}", io_text(&error)))?;
    Ok(AdminSocket { _file, listener })
}

/// Removes what a dead daemon left behind.
fn remove_stale(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let Ok(metadata) = std::fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !metadata.file_type().is_socket() {
        return Err(format!(
            "{shown} exists and is not a socket; remove it, or set admin.socket to another path"
        ));
    }
    if UnixStream::connect(path).is_ok() {
        return Err(format!(
            "another daemon answers at the admin socket {shown}; stop it, or set admin.socket to another path"
        ));
    }
    std::fs::remove_file(path)
        .map_err(|error| format!("cannot remove the stale admin socket {shown}: {}", io_text(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("bgp-socket-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        directory
    }

    #[tokio::test]
    async fn the_socket_has_its_permissions_and_goes_with_the_daemon() {
        let directory = directory("permissions");
        let path = directory.join("a/b/admin.sock");
        let socket = bind(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        drop(socket);
        assert!(!path.exists());
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[tokio::test]
    async fn only_a_socket_that_nobody_answers_on_is_replaced() {
        let directory = directory("stale");
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("admin.sock");
        // Dropping the standard library's listener leaves the file behind, as a killed daemon does.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let socket = bind(&path).unwrap();
        assert!(bind(&path).unwrap_err().contains("another daemon answers"));
        drop(socket);

        std::fs::write(&path, "precious").unwrap();
        assert!(bind(&path).unwrap_err().contains("exists and is not a socket"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
        std::fs::remove_dir_all(directory).unwrap();
    }
}
