use super::*;
use crate::daemon::file::FileConfig;
use crate::speaker::Speaker;
use axum::body::{Body, to_bytes};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use std::path::PathBuf;

/// A daemon without sockets: a speaker that listens nowhere, its file, and both routers.
struct Fixture {
    admin: Arc<Admin>,
    file: PathBuf,
    drains: mpsc::Receiver<oneshot::Sender<()>>,
    _speaker: Speaker,
}

const FILE: &str = "router_id = \"10.0.0.1\"\nlisten = []\n\
                    [[neighbors]]\naddress = \"127.0.0.2\"\npassive = true\n\
                    [announce]\nblocks = [\"192.168.1.0/26\"]\n";

impl Fixture {
    async fn start(name: &str) -> Self {
        let file = std::env::temp_dir().join(format!("bgp-admin-{}-{name}.toml", std::process::id()));
        std::fs::write(&file, FILE).unwrap();
        let config = FileConfig::load(&file, Program::BgpSpeaker).unwrap();
        let speaker = Speaker::builder().config(config.speaker.clone()).start().await.unwrap();
        let (drain, drains) = mpsc::channel(1);
        let base = config.speaker.clone();
        let desired =
            Desired::new(Program::BgpSpeaker, Some(file.clone()), speaker.handle(), config, None, base);
        let admin = Arc::new(Admin {
            program: Program::BgpSpeaker,
            handle: speaker.handle(),
            desired: Mutex::new(desired),
            drain,
            events: Arc::default(),
            per_neighbor_metrics: false,
        });
        Self { admin, file, drains, _speaker: speaker }
    }

    /// Over the unix socket.
    async fn ask(&self, method: Method, path: &str, body: &str) -> (u16, String) {
        answer(full_control(self.admin.clone()), method, path, body).await
    }

    /// Over TCP.
    async fn ask_tcp(&self, method: Method, path: &str) -> (u16, String) {
        answer(read_only(self.admin.clone()), method, path, "").await
    }

    async fn announced(&self) -> Vec<String> {
        self.admin.handle.config().await.unwrap().announcements.keys().map(ToString::to_string).collect()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

async fn answer(router: Router, method: Method, path: &str, body: &str) -> (u16, String) {
    let request = Request::builder().method(method).uri(path).body(Body::from(body.to_owned())).unwrap();
    let response = TowerToHyperService::new(router).call(request).await.unwrap();
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn every_read_answers_on_both_sides() {
    let fixture = Fixture::start("reads").await;
    for path in [
        "/",
        "/healthz",
        "/metrics",
        "/v1/status",
        "/v1/neighbors",
        "/v1/neighbors/127.0.0.2",
        "/v1/routes",
        "/v1/explain?prefix=192.168.1.0/26&to=127.0.0.2",
        "/v1/routes?prefix=192.168.0.0%2F16&longer=true&table=best&limit=5",
        "/v1/routes?table=received&neighbor=127.0.0.2",
        "/v1/fib",
        "/v1/malformed",
        "/v1/malformed?neighbor=127.0.0.2",
        "/v1/plan",
    ] {
        let (status, body) = fixture.ask(Method::GET, path, "").await;
        assert_eq!(status, 200, "{path}: {body}");
        assert_eq!(fixture.ask_tcp(Method::GET, path).await.0, 200, "{path} over TCP");
    }
    let (_, status) = fixture.ask(Method::GET, "/v1/status", "").await;
    assert!(status.contains("\"router_id\":\"10.0.0.1\""), "{status}");
}

#[tokio::test]
async fn tcp_changes_nothing() {
    let fixture = Fixture::start("tcp").await;
    for (method, path) in [
        (Method::POST, "/v1/drain"),
        (Method::POST, "/v1/reload"),
        (Method::POST, "/v1/plan"),
        (Method::POST, "/v1/neighbors/127.0.0.2/reset"),
        (Method::PUT, "/v1/announcements/10.0.0.0/8"),
        (Method::DELETE, "/v1/announcements/192.168.1.0/26"),
    ] {
        let (status, body) = fixture.ask_tcp(method, path).await;
        assert_eq!(status, 403, "{path}: {body}");
        assert!(body.contains("unix socket"), "{body}");
    }
    assert_eq!(fixture.announced().await, ["192.168.1.0/26"]);
}

#[tokio::test]
async fn requests_that_make_no_sense_say_why() {
    let fixture = Fixture::start("errors").await;
    for (method, path, body, status, expected) in [
        (Method::GET, "/v1/nothing", "", 404, "there is no such endpoint"),
        (Method::GET, "/v1/drain", "", 405, "this endpoint has no such method"),
        (Method::GET, "/v1/neighbors/127.0.0.9", "", 404, "there is no neighbour 127.0.0.9"),
        (Method::GET, "/v1/neighbors/node-b", "", 400, "\\\"node-b\\\" is not an address"),
        (Method::GET, "/v1/routes?prefix=10.0.0.1/8", "", 400, "did you mean \\\"10.0.0.0/8\\\"?"),
        (
            Method::GET,
            "/v1/routes?cursor=10.0.0.0",
            "",
            400,
            "cursor: not a cursor; take it as it is from the",
        ),
        (Method::GET, "/v1/routes?limit=0", "", 400, "limit is out of range; use 1 to 100000"),
        (Method::GET, "/v1/routes?table=received", "", 400, "need neighbor=ADDRESS"),
        (Method::GET, "/v1/routes?table=best&neighbor=127.0.0.2", "", 400, "goes with table=received"),
        (Method::GET, "/v1/malformed?neighbor=127.0.0.9", "", 404, "there is no neighbour 127.0.0.9"),
        (
            Method::GET,
            "/v1/events?topics=weather",
            "",
            400,
            "\\\"weather\\\" is none of sessions, routes, config, fib",
        ),
        (Method::GET, "/v1/routes?colour=red", "", 400, "unknown field `colour`"),
        (Method::POST, "/v1/neighbors/127.0.0.9/reset", "", 404, "there is no neighbour 127.0.0.9"),
        (Method::POST, "/v1/neighbors/127.0.0.2/fly", "", 404, "reset, refresh, enable, disable"),
        (Method::PUT, "/v1/announcements/10.0.0.0", "", 400, "has no length"),
        (Method::PUT, "/v1/announcements/10.0.0.0/8", "{\"blck\":true}", 400, "unknown field `blck`"),
        (Method::DELETE, "/v1/announcements/10.0.0.0/8", "", 404, "10.0.0.0/8 is not announced"),
        (Method::POST, "/v1/plan?file=new.toml", "asn = []", 422, "new.toml:1:7: asn: expected a number"),
    ] {
        let (found, answer) = fixture.ask(method, path, body).await;
        assert_eq!(found, status, "{path}: {answer}");
        assert!(answer.starts_with("{\"error\":\"") && answer.contains(expected), "{path}: {answer}");
    }
}

#[tokio::test]
async fn routes_come_page_by_page() {
    let fixture = Fixture::start("pages").await;
    for number in 0..7 {
        let path = format!("/v1/announcements/10.0.{number}.0/24");
        assert_eq!(fixture.ask(Method::PUT, &path, "").await.0, 200);
    }
    let (mut prefixes, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let path = format!("/v1/routes?limit=3&cursor={cursor}");
        let (status, answer) = fixture.ask(Method::GET, &path, "").await;
        assert_eq!(status, 200, "{answer}");
        let page: RoutesAnswer = serde_json::from_str(&answer).unwrap();
        assert_eq!(page.truncated, page.cursor.is_some());
        prefixes.extend(page.routes.iter().map(|route| route.prefix.to_string()));
        pages += 1;
        match page.cursor {
            Some(next) => cursor = next.to_string(),
            None => break,
        }
    }
    let expected = (0..7).map(|number| format!("10.0.{number}.0/24")).chain(["192.168.1.0/26".to_owned()]);
    assert_eq!((prefixes, pages), (expected.collect(), 3));
}

#[tokio::test]
async fn a_reload_keeps_what_the_api_changed() {
    let fixture = Fixture::start("overlay").await;
    let body = "{\"block\":true,\"communities\":[\"64512:1\"]}";
    assert_eq!(fixture.ask(Method::PUT, "/v1/announcements/192.168.7.0/26", body).await.0, 200);
    assert_eq!(fixture.ask(Method::DELETE, "/v1/announcements/192.168.1.0/26", "").await.0, 200);
    assert_eq!(fixture.ask(Method::POST, "/v1/neighbors/127.0.0.2/disable", "").await.0, 204);

    let with_second = FILE.replace("blocks = [", "blocks = [\"192.168.2.0/26\", ");
    std::fs::write(&fixture.file, with_second).unwrap();
    let (status, answer) = fixture.ask(Method::POST, "/v1/reload", "").await;
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains("\"action\":\"announce\",\"target\":\"192.168.2.0/26\""), "{answer}");
    assert_eq!(fixture.announced().await, ["192.168.2.0/26", "192.168.7.0/26"]);
    let config = fixture.admin.handle.config().await.unwrap();
    assert!(!config.neighbors.values().next().unwrap().enabled);
    assert_eq!(config.announcements.values().last().unwrap().communities.len(), 1);
}

#[tokio::test]
async fn a_broken_file_leaves_everything_as_it_is() {
    let fixture = Fixture::start("broken").await;
    let before = fixture.admin.handle.config().await.unwrap();
    std::fs::write(&fixture.file, "[announce]\nblocks = []\n[fib]\ntabel = 3\n").unwrap();
    let (status, answer) = fixture.ask(Method::POST, "/v1/reload", "").await;
    assert_eq!(status, 422);
    assert!(answer.contains(":4:1: fib.tabel: unknown key; did you mean \\\"table\\\"?"), "{answer}");
    assert!(answer.contains("\"line\":4"), "{answer}");
    assert_eq!(fixture.admin.handle.config().await.unwrap(), before);
}

#[tokio::test]
async fn sections_that_need_a_restart_are_named() {
    let fixture = Fixture::start("restart").await;
    std::fs::write(&fixture.file, format!("{FILE}[fib]\n[admin]\nlisten = \"off\"\n")).unwrap();
    for _ in 0..2 {
        let (status, answer) = fixture.ask(Method::POST, "/v1/reload", "").await;
        assert_eq!((status, answer.as_str()), (200, "{\"steps\":[],\"after_restart\":[\"admin\",\"fib\"]}"));
    }
}

#[tokio::test]
async fn a_drain_answers_once_it_is_done() {
    let mut fixture = Fixture::start("drain").await;
    let admin = fixture.admin.clone();
    let asked = tokio::spawn(async move { answer(full_control(admin), Method::POST, "/v1/drain", "").await });
    let done = fixture.drains.recv().await.unwrap();
    assert!(!asked.is_finished());
    done.send(()).unwrap();
    assert_eq!(asked.await.unwrap(), (204, String::new()));
}

#[tokio::test]
async fn events_are_streamed_until_the_end() {
    use http_body_util::BodyExt;
    let fixture = Fixture::start("events").await;
    let feeding =
        tokio::spawn(crate::daemon::events::feed(fixture.admin.events.clone(), fixture.admin.handle.clone()));
    let request = Request::builder().uri("/v1/events?topics=config").body(Body::empty()).unwrap();
    let response = TowerToHyperService::new(read_only(fixture.admin.clone())).call(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    assert_eq!(fixture.ask(Method::PUT, "/v1/announcements/10.0.0.0/8", "").await.0, 200);
    fixture.admin.handle.shutdown(crate::Stop::Leave).await.unwrap();
    let mut text = String::new();
    while let Some(frame) = body.frame().await {
        text.push_str(std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap());
    }
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], [": the events follow", ""]);
    assert!(lines[2].starts_with("id: ") && lines[2].ends_with("-0"), "{text}");
    assert_eq!(lines[3], "event: config");
    let step = r#"{"event":"config","steps":[{"action":"announce","target":"10.0.0.0/8","#;
    assert!(lines[4].strip_prefix("data: ").is_some_and(|json| json.starts_with(step)), "{text}");
    assert_eq!(lines[7], "event: end");
    feeding.await.unwrap();
}

#[tokio::test]
async fn an_event_id_must_be_one() {
    let fixture = Fixture::start("event-id").await;
    let request =
        Request::builder().uri("/v1/events").header("last-event-id", "7").body(Body::empty()).unwrap();
    let response = TowerToHyperService::new(read_only(fixture.admin.clone())).call(request).await.unwrap();
    assert_eq!(response.status(), 400);
}

#[tokio::test]
async fn a_neighbour_that_is_switched_without_being_there_is_an_error() {
    let fixture = Fixture::start("switch").await;
    let (status, answer) = fixture.ask(Method::POST, "/v1/neighbors/127.0.0.9/disable", "").await;
    assert_eq!(status, 404, "{answer}");
    assert_eq!(fixture.ask(Method::POST, "/v1/neighbors/127.0.0.2/disable", "").await.0, 204);
    let config = fixture.admin.handle.config().await.unwrap();
    assert!(!config.neighbors.values().next().unwrap().enabled);
    fixture.admin.handle.shutdown(crate::Stop::Leave).await.unwrap();
    assert_eq!(fixture.ask(Method::POST, "/v1/neighbors/127.0.0.2/enable", "").await.0, 503);
}
