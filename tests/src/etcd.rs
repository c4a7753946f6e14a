//! A real etcd inside a namespace: the one on `PATH`, or the one that `$BGP_LAB_ETCD` names, to try another version.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;

use etcd_client::{Client, Txn, TxnOp};
use serde_json::Value;

use crate::command::need_program;
use crate::error::LabError;
use crate::lab::{Lab, Node};
use crate::netns::Namespace;
use crate::process::Process;
use crate::wait::{secs, wait_until};

const CLIENT_PORT: u16 = 2379;
/// Names the program to run.
const PROGRAM_VARIABLE: &str = "BGP_LAB_ETCD";

/// One etcd server with its data.
#[derive(Debug)]
pub struct Etcd {
    namespace: Namespace,
    address: IpAddr,
    folder: PathBuf,
    program: PathBuf,
    process: Option<Process>,
}

impl Etcd {
    /// Starts an empty one on a node.
    ///
    /// # Errors
    /// [`LabError::Missing`] if none is installed; another one if there is none where `$BGP_LAB_ETCD` says.
    pub fn start(lab: &Lab, node: &Node) -> Result<Etcd, LabError> {
        let mut etcd = Etcd {
            namespace: node.namespace.clone(),
            address: node.v4.into(),
            folder: lab.subfolder(&node.name)?,
            program: program()?,
            process: None,
        };
        etcd.restart()?;
        Ok(etcd)
    }

    /// Where clients reach it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}:{CLIENT_PORT}", self.address)
    }

    /// Kills it, as a crash would.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Starts it again with the data that it had, and waits until it answers.
    ///
    /// # Errors
    /// If it does not.
    pub fn restart(&mut self) -> Result<(), LabError> {
        let peer = format!("http://127.0.0.1:{}", CLIENT_PORT + 1);
        let mut command = Command::new(&self.program);
        command.arg("--data-dir").arg(self.folder.join("data"));
        command.args(["--listen-client-urls", &format!("http://0.0.0.0:{CLIENT_PORT}")]);
        command.args(["--advertise-client-urls", &self.url()]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("default={peer}")]);
        command.args(["--logger", "zap", "--log-level", "warn"]);
        let mut process = Process::spawn(&self.namespace, "etcd", &self.folder.join("etcd.log"), command)?;
        process.wait_ready("etcd to answer", secs(20), || self.write(&[]))?;
        self.process = Some(process);
        Ok(())
    }

    /// Somebody who writes to it, also while it does not run: then that is an error.
    #[must_use]
    pub fn writer(&self) -> EtcdWriter {
        EtcdWriter { namespace: self.namespace.clone() }
    }

    /// Puts keys, or deletes those without a value, in one transaction. Returns the revision.
    ///
    /// # Errors
    /// If etcd does not take them.
    pub fn write(&self, changes: &[(String, Option<Value>)]) -> Result<i64, LabError> {
        self.writer().write(changes)
    }

    /// Forgets what was before this revision.
    ///
    /// # Errors
    /// If etcd refuses.
    pub fn compact(&self, revision: i64) -> Result<(), LabError> {
        self.writer().with_client(async |mut client| client.compact(revision, None).await.map(drop))
    }
}

/// A client on the host of an etcd.
#[derive(Clone, Debug)]
pub struct EtcdWriter {
    namespace: Namespace,
}

impl EtcdWriter {
    /// As [`Etcd::write`].
    ///
    /// # Errors
    /// If etcd does not take them.
    pub fn write(&self, changes: &[(String, Option<Value>)]) -> Result<i64, LabError> {
        let operations: Vec<TxnOp> = changes
            .iter()
            .map(|(key, value)| match value {
                Some(value) => TxnOp::put(key.as_str(), value.to_string(), None),
                None => TxnOp::delete(key.as_str(), None),
            })
            .collect();
        self.with_client(async |mut client| {
            let answer = client.txn(Txn::new().and_then(operations)).await?;
            Ok(answer.header().map_or(0, etcd_client::ResponseHeader::revision))
        })
    }

    fn with_client<T: Send>(
        &self,
        work: impl AsyncFnOnce(Client) -> Result<T, etcd_client::Error> + Send,
    ) -> Result<T, LabError> {
        self.namespace.run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(LabError::io("making a runtime"))?;
            let exchange = async {
                let client = Client::connect([format!("http://127.0.0.1:{CLIENT_PORT}")], None).await?;
                work(client).await
            };
            let failed = |error: etcd_client::Error| LabError::Answer {
                from: "etcd".into(),
                why: "it was asked".into(),
                answer: error.to_string(),
            };
            runtime.block_on(exchange).map_err(failed)
        })?
    }
}

/// Whoever asks for a certain etcd must not be told that tests were skipped without it.
fn program() -> Result<PathBuf, LabError> {
    let Some(named) = std::env::var_os(PROGRAM_VARIABLE) else { return need_program("etcd", "etcd-server") };
    let path = PathBuf::from(named);
    if path.is_file() {
        return Ok(path);
    }
    Err(LabError::Unexpected {
        what: format!("${PROGRAM_VARIABLE}"),
        expected: "the path of an etcd".into(),
        seen: format!("no file {}", path.display()),
    })
}

/// Waits until a key of a daemon's `status --json` has a value; for what takes its time after an outage of etcd.
///
/// # Errors
/// On timeout, with the last status.
pub fn wait_status(
    mut ask: impl FnMut() -> Result<Value, LabError>,
    pointer: &str,
    wanted: &Value,
) -> Result<(), LabError> {
    wait_until(&format!("{pointer} of the status to be {wanted}"), secs(60), || match ask() {
        Ok(status) if status.pointer(pointer) == Some(wanted) => Ok(()),
        Ok(status) => Err(status.to_string()),
        Err(error) => Err(error.to_string()),
    })
}
