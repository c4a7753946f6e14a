//! Unix sockets: made with their permissions, and never taken from a daemon that still answers.

use crate::daemon::advice::io_text;
use axum::serve::Listener;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixListener;

/// Owner and group may talk to the daemon.
const MODE: u32 = 0o660;
/// After an error of accept: not in a tight loop.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// A listening socket whose file goes away with it. The file goes first: a daemon that is started meanwhile finds
/// either a socket that answers or none, and its own file is never removed by us.
#[derive(Debug)]
pub(crate) struct UnixSocket {
    _file: SocketFile,
    listener: UnixListener,
}

impl Listener for UnixSocket {
    type Io = tokio::net::UnixStream;
    type Addr = tokio::net::unix::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        Listener::accept(&mut self.listener).await
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

impl UnixSocket {
    /// The next client. Errors of the system, such as too few descriptors, pass after a moment.
    pub(crate) async fn accept(&self) -> tokio::net::UnixStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a client");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }
}

/// What a socket is for, in messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Purpose {
    /// Its name.
    pub(crate) what: &'static str,
    /// The key that says where it is.
    pub(crate) key: &'static str,
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
pub(crate) fn bind(path: &Path, purpose: Purpose) -> Result<UnixSocket, String> {
    let (shown, Purpose { what, key }) = (path.display(), purpose);
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(|error| {
            let reason = io_text(&error);
            format!("cannot make the directory of the {what} {shown}: {reason}; run as root, or set {key}")
        })?;
    }
    remove_stale(path, purpose)?;
    let listener = UnixListener::bind(path).map_err(|error| {
        format!("cannot make the {what} {shown}: {}; run as root, or set {key}", io_text(&error))
    })?;
    let _file = SocketFile { path: path.to_owned() };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(MODE))
        .map_err(|error| format!("cannot set the permissions of {shown}: {}", io_text(&error)))?;
    Ok(UnixSocket { _file, listener })
}

/// Removes what a dead daemon left behind.
fn remove_stale(path: &Path, Purpose { what, key }: Purpose) -> Result<(), String> {
    let shown = path.display();
    let Ok(metadata) = std::fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !metadata.file_type().is_socket() {
        return Err(format!("{shown} exists and is not a socket; remove it, or set {key} to another path"));
    }
    if UnixStream::connect(path).is_ok() {
        return Err(format!(
            "another daemon answers at the {what} {shown}; stop it, or set {key} to another path"
        ));
    }
    std::fs::remove_file(path)
        .map_err(|error| format!("cannot remove the stale {what} {shown}: {}", io_text(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADMIN: Purpose = Purpose { what: "admin socket", key: "admin.socket" };

    fn directory(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("bgp-socket-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        directory
    }

    #[tokio::test]
    async fn the_socket_has_its_permissions_and_goes_with_the_daemon() {
        let directory = directory("permissions");
        let path = directory.join("a/b/admin.sock");
        let socket = bind(&path, ADMIN).unwrap();
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
        let socket = bind(&path, ADMIN).unwrap();
        assert!(bind(&path, ADMIN).unwrap_err().contains("another daemon answers"));
        drop(socket);

        std::fs::write(&path, "precious").unwrap();
        assert!(bind(&path, ADMIN).unwrap_err().contains("exists and is not a socket"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
        std::fs::remove_dir_all(directory).unwrap();
    }
}
