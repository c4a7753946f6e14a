//! `run`: the daemon itself, from the first log line to the exit code.

use super::Program;
use super::admin::{Admin, AdminServer};
use super::advice;
use super::allocator;
use super::bird_status::BirdServer;
use super::cli::Failure;
use super::cluster::{Model, Sources};
use super::desired::{Desired, DesiredError};
use super::events::{self, EventHub};
use super::file::{EtcdModel, FibSection, FileConfig, FileError};
use crate::config::SpeakerConfig;
use crate::engine::StartKind;
use crate::speaker::{Speaker, SpeakerHandle, Stop};
use fib_sync::FibConfig;
use sd_notify::NotifyState;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Closing every session takes a moment; a daemon that hangs must still end before its supervisor kills it.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Time between two looks at what stays until others have taken its place.
const HANDOVER_LOOK: Duration = Duration::from_millis(200);
/// The same after a failure.
const HANDOVER_RETRY: Duration = Duration::from_secs(5);

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Why the daemon ends.
enum End {
    /// SIGTERM or SIGINT: we come back, the routes stay.
    Restart,
    /// Asked to leave; somebody waits until we have.
    Drain(oneshot::Sender<()>),
    /// The speaker ended although nobody asked.
    Died,
}

/// Runs until a signal or a drain. Every failure is in the log.
pub(super) async fn run(program: Program, path: Option<PathBuf>, format: LogFormat) -> Result<(), Failure> {
    log_to_stderr(format);
    let ended = start_and_serve(program, path).await;
    ended.map_err(|failure| {
        let (code, message) = match failure {
            Failure::Failed(message) => (1, message),
            Failure::Invalid(message) => (2, message),
            Failure::Logged { .. } => return failure,
        };
        message.lines().for_each(|line| tracing::error!("{line}"));
        Failure::Logged { code }
    })
}

async fn start_and_serve(program: Program, path: Option<PathBuf>) -> Result<(), Failure> {
    let config = load(program, path.as_ref()).map_err(|error| Failure::Invalid(error.to_string()))?;
    let mut signals = Signals::install()?;
    // First the admin socket: a second daemon with the same file ends here and disturbs nobody.
    let mut server =
        AdminServer::bind(&config.admin).await.map_err(|error| Failure::Failed(error.to_string()))?;
    let is_calico = config.etcd.as_ref().is_some_and(|etcd| etcd.model == EtcdModel::Calico);
    let status = BirdServer::bind(&config.bird_status, is_calico).map_err(Failure::Failed)?;
    let mut model = config.etcd.as_ref().map(Model::new);
    let state = tokio::select! {
        state = first_state(&config, &mut model, &mut signals) => state,
        () = server.serve_waiting("the datastore (the log says what is missing)") => None,
    };
    let Some((sources, base)) = state else { return Ok(()) };
    raise_descriptor_limit(&base);
    allocator::keep_tables_apart();
    let speaker = start_speaker(program, &config, &base).await?;
    let socket = config.admin.socket.display().to_string();

    let events = Arc::<EventHub>::default();
    let feeding = tokio::spawn(events::feed(events.clone(), speaker.handle()));
    let (drain, mut drains) = mpsc::channel(1);
    let (stop_server, stop) = watch::channel(false);
    let admin = Arc::new(Admin {
        program,
        handle: speaker.handle(),
        per_neighbor_metrics: config.admin.per_neighbor_metrics,
        desired: Mutex::new(Desired::new(program, path, speaker.handle(), config, model, base)),
        drain,
        events: events.clone(),
    });
    admin.desired.lock().await.register();
    let handing_over = tokio::spawn(hand_over(admin.clone()));
    let following = sources.map(|sources| tokio::spawn(follow(sources, admin.clone())));
    let serving = tokio::spawn(server.serve(admin.clone(), stop));
    let telling = tokio::spawn(status.serve(admin.clone()));
    notify(&[NotifyState::Ready]);
    tracing::info!(socket, "accepting sessions and admin requests");

    let end = serve(&admin, &mut signals, &mut drains).await;
    notify(&[NotifyState::Stopping]);
    following.iter().chain([&handing_over]).for_each(tokio::task::JoinHandle::abort);
    if matches!(end, End::Drain(_)) {
        leave_registry(&admin).await;
    }
    let result = finish(speaker, end).await;
    telling.abort();
    // Whoever follows what happens is told of the end; the speaker's has begun it.
    let _ = feeding.await;
    // Whoever asked for the drain still gets its answer.
    let _ = stop_server.send(true);
    let _ = serving.await;
    result
}

fn load(program: Program, path: Option<&PathBuf>) -> Result<FileConfig, FileError> {
    let config = match path {
        Some(path) => FileConfig::load(path, program)?,
        None => FileConfig::without_file(program)?,
    };
    for note in &config.notes {
        tracing::info!("{note}");
    }
    let speaker = &config.speaker;
    if path.is_none() {
        let whom = match program {
            Program::BgpSpeaker => "no neighbours, and learned routes stay out of the kernel",
            Program::RouteReflector => "reflecting, but nobody may connect yet",
        };
        tracing::warn!(
            "no configuration file: AS {}, {whom}; write [[neighbors]] or [[listen_ranges]] into a file and \
             start with --config FILE",
            speaker.asn
        );
    }
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        asn = speaker.asn.0,
        router_id = %speaker.router_id,
        cluster_id = speaker.cluster_id.map(tracing::field::display),
        neighbors = speaker.neighbors.len(),
        listen_ranges = speaker.listen_ranges.len(),
        announcements = speaker.announcements.len(),
        "{} starts",
        program.name()
    );
    Ok(config)
}

/// Each session takes a descriptor; the usual soft limit of 1024 would end a reflector's growth without need.
fn raise_descriptor_limit(config: &SpeakerConfig) {
    let ranges: u64 = config.listen_ranges.iter().map(|range| u64::from(range.max_sessions)).sum();
    let needed = config.neighbors.len() as u64 + ranges + 100;
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) if limit < needed => tracing::warn!(
            limit,
            needed,
            "fewer descriptors than the configured sessions may need: raise the hard limit (LimitNOFILE= in a unit)"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the limit of descriptors could not be raised"),
    }
}

/// With a datastore: waits until it, or what is left of it on disk, says what this node is to be. `None`: it was ended
/// before.
async fn first_state(
    config: &FileConfig,
    model: &mut Option<Model>,
    signals: &mut Signals,
) -> Option<(Option<Sources>, SpeakerConfig)> {
    let (Some(section), Some(model)) = (&config.etcd, model) else {
        return Some((None, config.speaker.clone()));
    };
    let endpoints = section.endpoints.join(", ");
    tracing::info!(endpoints, node = section.node, model = section.model.name(), "reading the datastore");
    let mut sources = Sources::start(section, model);
    tokio::select! {
        base = sources.first_state(model, &config.speaker) => Some((Some(sources), base)),
        _ = signals.terminate.recv() => None,
        _ = signals.interrupt.recv() => None,
    }
}

/// Makes the speaker what the datastore says, for as long as the daemon runs.
async fn follow(mut sources: Sources, admin: Arc<Admin>) {
    loop {
        let news = sources.next().await;
        if let Err(error) = admin.desired.lock().await.update(&news).await {
            tracing::warn!(%error, "what the datastore asks for is not done: everything stays as it was");
        }
    }
}

/// Lets go what stayed for others to take its place, for as long as the daemon runs.
async fn hand_over(admin: Arc<Admin>) {
    let begins = admin.desired.lock().await.handover_begins();
    loop {
        begins.notified().await;
        let mut pause = HANDOVER_LOOK;
        loop {
            tokio::time::sleep(pause).await;
            pause = match admin.desired.lock().await.advance().await {
                Ok(true) => HANDOVER_LOOK,
                Ok(false) => break,
                Err(error) => {
                    tracing::warn!(%error, "what is held stays for now");
                    HANDOVER_RETRY
                }
            };
        }
    }
}

/// The others need not wait for our lease to expire.
async fn leave_registry(admin: &Admin) {
    let registration = admin.desired.lock().await.take_registration();
    if let Some(registration) = registration
        && let Err(error) = registration.withdraw().await
    {
        tracing::warn!(%error, "still registered; others will know once the lease has expired");
    }
}

async fn start_speaker(
    program: Program,
    config: &FileConfig,
    base: &SpeakerConfig,
) -> Result<Speaker, Failure> {
    let start = match program {
        // It finds out from the routes that it left in the kernel.
        Program::BgpSpeaker => StartKind::Fresh,
        Program::RouteReflector => StartKind::Unknown,
    };
    let mut builder = Speaker::builder().config(base.clone()).start_kind(start);
    if let Some(FibSection { table, protocol, metric }) = config.fib {
        builder = builder.fib(FibConfig { table, protocol, metric, ..FibConfig::default() });
    }
    builder.start().await.map_err(|error| Failure::Failed(error.to_string()))
}

/// Waits for the end, and reloads meanwhile.
async fn serve(
    admin: &Arc<Admin>,
    signals: &mut Signals,
    drains: &mut mpsc::Receiver<oneshot::Sender<()>>,
) -> End {
    let handle: SpeakerHandle = admin.handle.clone();
    let stopped = handle.stopped();
    let mut stopped = std::pin::pin!(stopped);
    loop {
        tokio::select! {
            // Apart from this loop, so that a reload that takes long cannot hold up the end.
            _ = signals.hangup.recv() => drop(tokio::spawn(reload(admin.clone()))),
            _ = signals.terminate.recv() => return End::Restart,
            _ = signals.interrupt.recv() => return End::Restart,
            Some(done) = drains.recv() => return End::Drain(done),
            () = stopped.as_mut() => return End::Died,
        }
    }
}

async fn reload(admin: Arc<Admin>) {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(_) => notify(&[NotifyState::Reloading]),
    }
    match admin.desired.lock().await.reload().await {
        Ok(reloaded) => reloaded.log(),
        Err(error) => {
            let lines = match &error {
                DesiredError::File(error) => error.lines(),
                other => vec![other.to_string()],
            };
            lines.iter().for_each(|line| tracing::error!("{line}"));
            tracing::error!("not reloaded: everything stays as it was");
        }
    }
    notify(&[NotifyState::Ready]);
}

/// Ends the speaker as the reason demands.
async fn finish(speaker: Speaker, end: End) -> Result<(), Failure> {
    let (stop, done) = match end {
        End::Died => return Err(Failure::Failed("the speaker ended by itself, which is a bug".to_owned())),
        End::Restart => {
            tracing::info!("ending for a restart: routes stay, neighbours keep ours meanwhile");
            (Stop::Restart, None)
        }
        End::Drain(done) => {
            tracing::info!("leaving: withdrawing every route, closing all sessions");
            (Stop::Leave, Some(done))
        }
    };
    let stopped = tokio::time::timeout(STOP_TIMEOUT, speaker.stop(stop)).await;
    match stopped {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(Failure::Failed(error.to_string())),
        Err(_) => {
            let secs = STOP_TIMEOUT.as_secs();
            return Err(Failure::Failed(format!("the speaker did not end within {secs} s")));
        }
    }
    tracing::info!("ended");
    if let Some(done) = done {
        // Whoever asked may be gone.
        let _ = done.send(());
    }
    Ok(())
}

/// The signals that mean something.
struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn install() -> Result<Self, Failure> {
        let install = |kind| {
            signal(kind).map_err(|error| {
                Failure::Failed(format!("cannot handle signals: {}", advice::io_text(&error)))
            })
        };
        Ok(Self {
            hangup: install(SignalKind::hangup())?,
            terminate: install(SignalKind::terminate())?,
            interrupt: install(SignalKind::interrupt())?,
        })
    }
}

/// Tells systemd, if it is there.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "cannot notify the service manager");
    }
}

fn log_to_stderr(format: LogFormat) {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).with_target(false).init(),
        LogFormat::Json => log.json().init(),
    }
}
