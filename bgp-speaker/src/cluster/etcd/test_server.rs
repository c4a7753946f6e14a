//! A real etcd for tests, on loopback, in a directory of its own: the one on `PATH`, or the one that `$BGP_LAB_ETCD` names.

use super::{EtcdOptions, connect};
use etcd_client::Client;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Gone when dropped, with its data.
pub(crate) struct TestServer {
    process: Child,
    directory: PathBuf,
    arguments: Vec<String>,
    pub(crate) options: EtcdOptions,
}

impl TestServer {
    pub(crate) async fn start() -> Self {
        Self::start_with("http", |_| Vec::new(), |_, _| ()).await
    }

    /// `arguments` and `configure` are told the directory that the server has for itself.
    pub(crate) async fn start_with(
        scheme: &str,
        arguments: impl FnOnce(&Path) -> Vec<String>,
        configure: impl FnOnce(&Path, &mut EtcdOptions),
    ) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("bgp-etcd-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory for etcd");
        let [client, peer] = free_ports();
        let url = format!("{scheme}://127.0.0.1:{client}");
        let peer = format!("http://127.0.0.1:{peer}");
        let mut all: Vec<String> = [
            ("--data-dir", directory.join("data").display().to_string()),
            ("--listen-client-urls", url.clone()),
            ("--advertise-client-urls", url.clone()),
            ("--listen-peer-urls", peer.clone()),
            ("--initial-advertise-peer-urls", peer.clone()),
            ("--initial-cluster", format!("default={peer}")),
            ("--logger", "zap".to_owned()),
            ("--log-level", "error".to_owned()),
        ]
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect();
        all.extend(arguments(&directory));
        let mut options = EtcdOptions::new(vec![url]);
        configure(&directory, &mut options);
        let server = Self { process: spawn(&all), directory, arguments: all, options };
        server.wait_until_it_answers().await;
        server
    }

    pub(crate) async fn client(&self) -> Client {
        connect(&self.options).await.expect("etcd answers")
    }

    pub(crate) async fn put(&self, key: &str, value: &str) {
        self.client().await.put(key, value, None).await.expect("etcd takes it");
    }

    pub(crate) fn stop(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it ends");
    }

    /// Again, with the data that it had.
    pub(crate) async fn restart(&mut self) {
        self.process = spawn(&self.arguments);
        self.wait_until_it_answers().await;
    }

    async fn wait_until_it_answers(&self) {
        let answers = async {
            let Ok(mut client) = connect(&self.options).await else { return false };
            client.get("/", None).await.is_ok()
        };
        let mut answered = answers.await;
        while !answered {
            tokio::task::yield_now().await;
            let Ok(mut client) = connect(&self.options).await else { continue };
            answered = client.get("/", None).await.is_ok();
        }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
        _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn spawn(arguments: &[String]) -> Child {
    Command::new(std::env::var_os("BGP_LAB_ETCD").unwrap_or_else(|| "etcd".into()))
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("etcd runs (Debian: etcd-server; $BGP_LAB_ETCD names another one)")
}

/// Ports that nobody listens on, as long as nobody else takes them first.
fn free_ports() -> [u16; 2] {
    let listeners = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").expect("a port"));
    listeners.map(|listener| listener.local_addr().expect("bound").port())
}
