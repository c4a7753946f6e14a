//! The sockets, and one conversation per client. Input is bounded, and whoever neither asks nor reads is hung up on.

use super::command::Command;
use super::reply::Reply;
use super::routes::Walk;
use super::{Picture, Side, VERSION, protocols, status};
use crate::config::Family;
use crate::daemon::admin::Admin;
use crate::daemon::file::BirdStatusSection;
use crate::daemon::unix_socket::{self, Purpose, UnixSocket};
use crate::speaker::QueryError;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;

/// Clients of one socket at a time; more are hung up on at once.
const CLIENTS_MAX: usize = 64;
/// Longest command, in bytes, as in BIRD.
const COMMAND_BYTES_MAX: usize = 4096;
/// A client that asks nothing for so long is hung up on.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// A client that takes nothing of its answer for so long, too.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// The sockets, bound but not served yet.
#[derive(Debug)]
pub(crate) struct BirdServer {
    sockets: Vec<(Side, UnixSocket)>,
}

impl BirdServer {
    /// Makes the sockets. One that nobody asked for may fail: then there is no status there, and that is logged.
    ///
    /// # Errors
    /// One that was asked for cannot be made; a sentence for the operator.
    pub(crate) fn bind(section: &BirdStatusSection, is_calico: bool) -> Result<Self, String> {
        let mut sockets = Vec::new();
        for (family, choice, key) in [
            (Family::Ipv4Unicast, &section.ipv4, "bird_status.ipv4"),
            (Family::Ipv6Unicast, &section.ipv6, "bird_status.ipv6"),
        ] {
            let Some(path) = choice.path(family, is_calico) else { continue };
            match unix_socket::bind(&path, Purpose { what: "status socket", key }) {
                Ok(socket) => sockets.push((Side { family }, socket)),
                Err(sentence) if choice.is_default() => tracing::warn!("{sentence}"),
                Err(sentence) => return Err(sentence),
            }
        }
        Ok(Self { sockets })
    }

    /// Serves for as long as it is polled; the sockets go with it.
    pub(crate) async fn serve(self, admin: Arc<Admin>) {
        let mut tasks = tokio::task::JoinSet::new();
        for (side, socket) in self.sockets {
            tasks.spawn(serve(side, socket, admin.clone()));
        }
        while tasks.join_next().await.is_some() {}
    }
}

async fn serve(side: Side, socket: UnixSocket, admin: Arc<Admin>) {
    let permits = Arc::new(Semaphore::new(CLIENTS_MAX));
    let mut clients = tokio::task::JoinSet::new();
    loop {
        let stream = tokio::select! {
            stream = socket.accept() => stream,
            Some(_) = clients.join_next() => continue,
        };
        let Ok(permit) = permits.clone().try_acquire_owned() else {
            tracing::warn!(limit = CLIENTS_MAX, "too many clients of the status socket; hung up on one");
            continue;
        };
        let admin = admin.clone();
        clients.spawn(async move {
            // A client that went away, or took too long, has nobody left to be told.
            _ = Client { side, stream, admin }.talk().await;
            drop(permit);
        });
    }
}

/// Why a conversation ends.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("the client took too long")]
    Slow(#[from] tokio::time::error::Elapsed),
    #[error(transparent)]
    Speaker(#[from] QueryError),
}

impl From<crate::speaker::Stopped> for Ended {
    fn from(stopped: crate::speaker::Stopped) -> Self {
        Ended::Speaker(stopped.into())
    }
}

/// One client. Its commands are answered one after another.
struct Client {
    side: Side,
    stream: UnixStream,
    admin: Arc<Admin>,
}

impl Client {
    async fn talk(&mut self) -> Result<(), Ended> {
        let mut reply = Reply::default();
        reply.end(1, &format!("BIRD {VERSION} ready."));
        self.send(&mut reply).await?;
        let mut input = Vec::new();
        loop {
            while let Some(end) = input.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = input.drain(..=end).collect();
                self.answer(&String::from_utf8_lossy(&line)).await?;
            }
            if input.len() >= COMMAND_BYTES_MAX {
                reply.end(9000, "Command too long");
                return self.send(&mut reply).await;
            }
            let mut chunk = [0; 1024];
            let room = chunk.len().min(COMMAND_BYTES_MAX - input.len());
            let count = tokio::time::timeout(IDLE_TIMEOUT, self.stream.read(&mut chunk[..room])).await??;
            if count == 0 {
                return Ok(());
            }
            input.extend_from_slice(&chunk[..count]);
        }
    }

    async fn answer(&mut self, line: &str) -> Result<(), Ended> {
        let mut reply = Reply::default();
        match Command::parse(line) {
            Command::Restrict => reply.end(16, "Access restricted"),
            Command::ShowStatus => status::show(&self.picture().await?, &mut reply),
            Command::ShowProtocols { is_detailed, name } => {
                protocols::show(&self.picture().await?, is_detailed, name, &mut reply);
            }
            Command::ShowRoute => return self.show_route().await,
            Command::Unknown => reply.end(9001, "syntax error"),
        }
        self.send(&mut reply).await
    }

    /// Each page is sent before the next one is asked for: a client that reads slowly waits for itself.
    async fn show_route(&mut self) -> Result<(), Ended> {
        let next_hops = self.admin.handle.fib().await.map(|fib| fib.next_hops).unwrap_or_default();
        let mut walk = Walk::new(self.picture().await?, next_hops, self.side);
        let mut reply = Reply::default();
        while walk.next_page(&self.admin.handle, &mut reply).await? {
            self.send(&mut reply).await?;
        }
        self.send(&mut reply).await
    }

    async fn picture(&self) -> Result<Picture, Ended> {
        Ok(Picture::take(&self.admin, self.side).await?)
    }

    async fn send(&mut self, reply: &mut Reply) -> Result<(), Ended> {
        let text = reply.take();
        tokio::time::timeout(WRITE_TIMEOUT, self.stream.write_all(text.as_bytes())).await??;
        Ok(())
    }
}
