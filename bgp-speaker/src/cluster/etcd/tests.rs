#![allow(clippy::disallowed_methods, reason = "tests wait for the world, within limits")]

use super::test_server::TestServer;
use super::*;
use crate::cluster::Entry;
use crate::config::Secret;
use etcd_client::{CompactionOptions, Compare, CompareOp, Permission, Txn, TxnOp};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

fn watcher(server: &TestServer) -> EtcdWatcher {
    EtcdWatcher::start(server.options.clone(), vec!["/a/".to_owned(), "/b/".to_owned()])
}

async fn next(watcher: &mut EtcdWatcher) -> Update {
    tokio::time::timeout(PATIENCE, watcher.next()).await.expect("news")
}

/// Past interruptions.
async fn next_data(watcher: &mut EtcdWatcher) -> Update {
    loop {
        match next(watcher).await {
            Update::Down { .. } => {}
            update => return update,
        }
    }
}

fn texts(entries: &[Entry]) -> Vec<(String, Option<String>)> {
    let text = |bytes: &Vec<u8>| String::from_utf8(bytes.clone()).unwrap();
    entries.iter().map(|entry| (entry.key.clone(), entry.value.as_ref().map(text))).collect()
}

fn listed(update: &Update) -> Vec<(String, String)> {
    let Update::Listed { entries, .. } = update else { panic!("not a list: {update:?}") };
    texts(entries).into_iter().map(|(key, value)| (key, value.expect("a value"))).collect()
}

fn changed(update: &Update) -> Vec<(String, Option<String>)> {
    let Update::Changed { changes, .. } = update else { panic!("not a change: {update:?}") };
    texts(changes)
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn what_is_there_is_listed_and_what_changes_is_told() {
    let server = TestServer::start().await;
    for (key, value) in [("/a/1", "x"), ("/a", "no"), ("/b/1", "y"), ("/c/1", "no"), ("/a0", "no")] {
        server.put(key, value).await;
    }
    let mut watcher = watcher(&server);
    let first = next(&mut watcher).await;
    assert_eq!(listed(&first), owned(&[("/a/1", "x"), ("/b/1", "y")]));
    server.put("/c/2", "no").await;
    server.put("/b/2", "z").await;
    let change = next(&mut watcher).await;
    assert_eq!(changed(&change), [("/b/2".to_owned(), Some("z".to_owned()))]);
    server.client().await.delete("/b/1", None).await.unwrap();
    assert_eq!(changed(&next(&mut watcher).await), [("/b/1".to_owned(), None)]);
    let (Update::Listed { revision: before, .. }, Update::Changed { revision: after, changes }) =
        (first, change)
    else {
        panic!("a list and a change")
    };
    assert!(after > before && changes[0].revision > before, "{before} {after} {changes:?}");
}

#[tokio::test]
async fn a_transaction_is_one_update() {
    let server = TestServer::start().await;
    let mut watcher = watcher(&server);
    assert_eq!(listed(&next(&mut watcher).await), []);
    let puts: Vec<TxnOp> = (0..100).map(|number| TxnOp::put(format!("/a/{number:03}"), "v", None)).collect();
    let never = Compare::version("/nobody", CompareOp::Equal, 0);
    server.client().await.txn(Txn::new().when([never]).and_then(puts)).await.unwrap();
    assert_eq!(changed(&next(&mut watcher).await).len(), 100);
}

#[tokio::test]
async fn a_large_cluster_is_read_in_pages_at_one_revision() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let value = "x".repeat(700);
    for chunk in 0..50 {
        let keys = (0..100).map(|number| format!("/a/node-{:04}", chunk * 100 + number));
        let puts: Vec<TxnOp> = keys.map(|key| TxnOp::put(key, value.as_str(), None)).collect();
        client.txn(Txn::new().and_then(puts)).await.unwrap();
    }
    let started = Instant::now();
    let mut watcher = watcher(&server);
    let update = next(&mut watcher).await;
    let elapsed = started.elapsed();
    let entries = listed(&update);
    assert_eq!(entries.len(), 5000);
    assert!(entries.is_sorted(), "each once, in order");
    assert!(elapsed < Duration::from_secs(2), "{elapsed:?}");
}

#[tokio::test]
async fn pages_fit_together_whatever_their_size() {
    let mut server = TestServer::start().await;
    for number in 0..10 {
        server.put(&format!("/a/{number}"), "v").await;
    }
    for page_size in [1, 3, 5, 9, 10, 11] {
        server.options.page_size = page_size;
        let mut watcher = watcher(&server);
        assert_eq!(listed(&next(&mut watcher).await).len(), 10, "pages of {page_size}");
    }
}

#[tokio::test]
async fn after_a_restart_of_etcd_the_list_shows_what_was_missed() {
    let mut server = TestServer::start().await;
    server.put("/a/1", "x").await;
    let mut watcher = watcher(&server);
    assert_eq!(listed(&next(&mut watcher).await), owned(&[("/a/1", "x")]));
    server.stop();
    assert!(matches!(next(&mut watcher).await, Update::Down { .. }));
    server.restart().await;
    server.put("/a/2", "y").await;
    // It may have been back before the last change.
    let mut known = listed(&next_data(&mut watcher).await);
    if known.len() == 1 {
        known.extend(changed(&next(&mut watcher).await).into_iter().map(|(k, v)| (k, v.unwrap())));
    }
    assert_eq!(known, owned(&[("/a/1", "x"), ("/a/2", "y")]));
    server.put("/a/1", "z").await;
    assert_eq!(changed(&next(&mut watcher).await), [("/a/1".to_owned(), Some("z".to_owned()))]);
}

#[tokio::test]
async fn compacted_history_ends_in_a_new_list() {
    let mut server = TestServer::start().await;
    server.put("/a/1", "x").await;
    let mut watcher = watcher(&server);
    assert_eq!(listed(&next(&mut watcher).await).len(), 1);
    server.stop();
    assert!(matches!(next(&mut watcher).await, Update::Down { .. }));
    server.restart().await;
    let mut client = server.client().await;
    let mut revision = 0;
    for round in 0..20 {
        let put = client.put("/a/1", format!("{round}"), None).await.unwrap();
        revision = put.header().unwrap().revision();
    }
    client.compact(revision, Some(CompactionOptions::new().with_physical())).await.unwrap();
    let mut last = None;
    while last.as_deref() != Some("19") {
        last = match next_data(&mut watcher).await {
            Update::Listed { entries, .. } => texts(&entries).pop().and_then(|(_, value)| value),
            Update::Changed { changes, .. } => texts(&changes).pop().and_then(|(_, value)| value),
            Update::Down { .. } => None,
        };
    }
}

#[tokio::test]
async fn a_watch_from_before_the_compaction_says_so() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let mut revision = 0;
    for _ in 0..5 {
        revision = client.put("/a/1", "x", None).await.unwrap().header().unwrap().revision();
    }
    client.compact(revision, None).await.unwrap();
    let prefixes = ["/a/".to_owned()];
    let mut watch = session::Watch::start(&server.options, &client, &prefixes, 2).await.unwrap();
    let error = tokio::time::timeout(PATIENCE, watch.burst()).await.expect("an answer").unwrap_err();
    assert!(matches!(error, EtcdError::Compacted { up_to } if up_to == revision), "{error}");
}

#[tokio::test]
async fn a_user_needs_the_right_password() {
    let mut server = TestServer::start().await;
    server.put("/a/1", "x").await;
    let mut client = server.client().await;
    client.user_add("root", "secret", None).await.unwrap();
    client.role_add("root").await.unwrap();
    client.user_grant_role("root", "root").await.unwrap();
    client.user_add("node", "hunter2", None).await.unwrap();
    client.role_add("reader").await.unwrap();
    let permission = Permission::read("/").with_prefix();
    client.role_grant_permission("reader", permission).await.unwrap();
    client.user_grant_role("node", "reader").await.unwrap();
    client.auth_enable().await.unwrap();

    server.options.user = Some(("node".to_owned(), Secret::new("wrong")));
    let mut refused = watcher(&server);
    let Update::Down { reason } = next(&mut refused).await else { panic!("it was let in") };
    assert!(reason.contains("authentication failed") && !reason.contains("wrong"), "{reason}");
    server.options.user = Some(("node".to_owned(), Secret::new("hunter2")));
    let mut watcher = watcher(&server);
    assert_eq!(listed(&next(&mut watcher).await), owned(&[("/a/1", "x")]));
}

#[tokio::test]
async fn tls_checks_both_sides() {
    let made = |names: &[&str]| {
        let mut params =
            rcgen::CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>());
        params.as_mut().unwrap().is_ca = rcgen::IsCa::NoCa;
        params.unwrap()
    };
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = made(&[]);
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_certificate = ca.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let issue = |names: &[&str]| {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = made(names).signed_by(&key, &issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    };
    let (server_certificate, server_key) = issue(&["127.0.0.1", "localhost"]);
    let (client_certificate, client_key) = issue(&["node"]);
    let write = |directory: &std::path::Path| {
        for (name, text) in [
            ("ca.pem", ca_certificate.pem()),
            ("server.pem", server_certificate.clone()),
            ("server.key", server_key.clone()),
            ("client.pem", client_certificate.clone()),
            ("client.key", client_key.clone()),
        ] {
            std::fs::write(directory.join(name), text).unwrap();
        }
    };
    let arguments = |directory: &std::path::Path| {
        write(directory);
        let file = |name: &str| directory.join(name).display().to_string();
        [("--cert-file", "server.pem"), ("--key-file", "server.key"), ("--trusted-ca-file", "ca.pem")]
            .into_iter()
            .flat_map(|(option, name)| [option.to_owned(), file(name)])
            .chain(["--client-cert-auth".to_owned()])
            .collect()
    };
    let server = TestServer::start_with("https", arguments, |directory, options| {
        options.ca_file = Some(directory.join("ca.pem"));
        options.identity_files = Some((directory.join("client.pem"), directory.join("client.key")));
    })
    .await;
    server.put("/a/1", "x").await;
    let mut watcher = watcher(&server);
    assert_eq!(listed(&next(&mut watcher).await), owned(&[("/a/1", "x")]));

    let mut anonymous = server.options.clone();
    anonymous.identity_files = None;
    let mut refused = EtcdWatcher::start(anonymous, vec!["/a/".to_owned()]);
    assert!(matches!(next(&mut refused).await, Update::Down { .. }));
    let mut missing = server.options.clone();
    missing.ca_file = Some("/nonexistent/ca.pem".into());
    let mut refused = EtcdWatcher::start(missing, vec!["/a/".to_owned()]);
    let Update::Down { reason } = next(&mut refused).await else { panic!("it was let in") };
    assert!(reason.contains("cannot read /nonexistent/ca.pem"), "{reason}");
}

#[tokio::test]
async fn one_of_several_endpoints_is_enough() {
    let server = TestServer::start().await;
    server.put("/a/1", "x").await;
    let mut options = server.options.clone();
    // Nobody listens on these ports.
    options.endpoints.extend((1..10).map(|port| format!("http://127.0.0.1:{port}")));
    let mut watcher = EtcdWatcher::start(options, vec!["/a/".to_owned()]);
    // At the first attempt, however many are gone.
    assert_eq!(listed(&next(&mut watcher).await), owned(&[("/a/1", "x")]));
}

#[tokio::test]
async fn a_datastore_that_is_not_there_is_told_with_its_address() {
    let options = EtcdOptions::new(vec!["http://127.0.0.1:1".to_owned()]);
    let mut watcher = EtcdWatcher::start(options, vec!["/a/".to_owned()]);
    let Update::Down { reason } = next(&mut watcher).await else { panic!("it answered") };
    assert!(reason.contains("http://127.0.0.1:1"), "{reason}");
}

/// Values that start alike are of one node.
fn register(server: &TestServer, value: &str, lease_time: Duration) -> Registration {
    let is_ours: IsOurs = |found, ours| found.first() == ours.as_bytes().first();
    Registration::start(server.options.clone(), "/a/n".to_owned(), value.to_owned(), lease_time, is_ours)
}

#[tokio::test]
async fn a_registration_is_kept_alive_changed_and_withdrawn() {
    let mut server = TestServer::start().await;
    let mut watcher = watcher(&server);
    assert_eq!(listed(&next(&mut watcher).await), []);
    let lease_time = Duration::from_secs(3);
    let registration = register(&server, "1", lease_time);
    assert_eq!(changed(&next(&mut watcher).await), [("/a/n".to_owned(), Some("1".to_owned()))]);
    registration.set("2".to_owned());
    assert_eq!(changed(&next(&mut watcher).await), [("/a/n".to_owned(), Some("2".to_owned()))]);
    let mut client = server.client().await;
    let lease = client.get("/a/n", None).await.unwrap().kvs()[0].lease();
    let started = Instant::now();
    while started.elapsed() < 2 * lease_time {
        let left = client.lease_time_to_live(lease, None).await.unwrap().ttl();
        assert!(left >= 0, "it expired although it is kept alive");
        tokio::time::timeout(Duration::from_millis(200), watcher.next()).await.expect_err("nothing changes");
    }
    server.stop();
    assert!(matches!(next(&mut watcher).await, Update::Down { .. }));
    server.restart().await;
    let list = next_data(&mut watcher).await;
    assert_eq!(
        listed(&list),
        owned(&[("/a/n", "2")]),
        "as long as the lease lasts, and then it is there again"
    );
    registration.withdraw().await.unwrap();
    let is_gone = |update: &Update| match update {
        Update::Changed { changes, .. } => changes.last().is_some_and(|entry| entry.value.is_none()),
        Update::Listed { entries, .. } => entries.is_empty(),
        Update::Down { .. } => false,
    };
    while !is_gone(&next(&mut watcher).await) {}
}

#[tokio::test]
async fn a_registered_key_that_somebody_deletes_is_put_back_at_once() {
    let server = TestServer::start().await;
    let mut watcher = watcher(&server);
    assert_eq!(listed(&next(&mut watcher).await), []);
    let registration = register(&server, "1", Duration::from_secs(60));
    let put = |value: &str| [("/a/n".to_owned(), Some(value.to_owned()))];
    assert_eq!(changed(&next(&mut watcher).await), put("1"));
    let mut client = server.client().await;
    let lease = client.get("/a/n", None).await.unwrap().kvs()[0].lease();
    for value in ["1", "2"] {
        if value == "2" {
            registration.set(value.to_owned());
            assert_eq!(changed(&next(&mut watcher).await), put(value));
        }
        let begin = Instant::now();
        client.delete("/a/n", None).await.unwrap();
        let is_back = |update: &Update| changed(update).last() == put(value).last();
        while !is_back(&next(&mut watcher).await) {}
        assert!(begin.elapsed() < Duration::from_secs(2), "without the next renewal: {:?}", begin.elapsed());
    }
    assert_eq!(client.get("/a/n", None).await.unwrap().kvs()[0].lease(), lease, "under the same lease");
    registration.withdraw().await.unwrap();
    let left = client.get("/a/n", None).await.unwrap();
    assert!(left.kvs().is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_registered_key_that_somebody_takes_is_waited_for() {
    let server = TestServer::start().await;
    let mut watcher = watcher(&server);
    assert_eq!(listed(&next(&mut watcher).await), []);
    let _registration = register(&server, "1", Duration::from_secs(60));
    next(&mut watcher).await;
    let mut client = server.client().await;
    client.put("/a/n", "other", None).await.unwrap();
    assert_eq!(changed(&next(&mut watcher).await), [("/a/n".to_owned(), Some("other".to_owned()))]);
    client.delete("/a/n", None).await.unwrap();
    let is_back =
        |update: &Update| changed(update).last().is_some_and(|(_, value)| value.as_deref() == Some("1"));
    while !is_back(&next(&mut watcher).await) {}
}

#[tokio::test]
async fn a_registration_that_nobody_keeps_alive_expires() {
    let server = TestServer::start().await;
    let mut watcher = watcher(&server);
    assert_eq!(listed(&next(&mut watcher).await), []);
    let lease_time = Duration::from_secs(2);
    let registration = register(&server, "1", lease_time);
    assert_eq!(changed(&next(&mut watcher).await), [("/a/n".to_owned(), Some("1".to_owned()))]);
    drop(registration);
    assert_eq!(changed(&next(&mut watcher).await), [("/a/n".to_owned(), None)]);
}

#[tokio::test]
async fn of_two_with_one_name_the_first_is_registered_until_it_is_gone() {
    let server = TestServer::start().await;
    let mut watcher = watcher(&server);
    assert_eq!(listed(&next(&mut watcher).await), []);
    let lease_time = Duration::from_secs(2);
    let is = |value: &str| [("/a/n".to_owned(), Some(value.to_owned()))];
    let is_gone = [("/a/n".to_owned(), None)];
    let first = register(&server, "a1", lease_time);
    assert_eq!(changed(&next(&mut watcher).await), is("a1"));
    let second = register(&server, "b1", lease_time);
    first.set("a2".to_owned());
    assert_eq!(changed(&next(&mut watcher).await), is("a2"));
    let waits = tokio::time::timeout(2 * lease_time, watcher.next()).await;
    waits.expect_err("as long as the first is there, nothing changes");
    first.withdraw().await.unwrap();
    let mut told = Vec::new();
    while told.len() < 2 {
        told.extend(changed(&next(&mut watcher).await));
    }
    assert_eq!(told, [&is_gone[..], &is("b1")].concat());
    // And the other way round, when one dies.
    let third = register(&server, "a3", lease_time);
    drop(second);
    let mut told = Vec::new();
    while told.len() < 2 {
        told.extend(changed(&next(&mut watcher).await));
    }
    assert_eq!(told, [&is_gone[..], &is("a3")].concat());
    // Somebody writes over it: it is not ours to put back before that is gone.
    server.put("/a/n", "c").await;
    assert_eq!(changed(&next(&mut watcher).await), is("c"));
    third.set("a4".to_owned());
    tokio::time::timeout(lease_time, watcher.next()).await.expect_err("it is left alone");
    server.client().await.delete("/a/n", None).await.unwrap();
    let mut told = Vec::new();
    while told.len() < 2 {
        told.extend(changed(&next(&mut watcher).await));
    }
    assert_eq!(told, [&is_gone[..], &is("a4")].concat());
}

#[tokio::test]
async fn a_node_that_is_back_takes_the_place_of_what_it_left() {
    let server = TestServer::start().await;
    let mut watcher = watcher(&server);
    assert_eq!(listed(&next(&mut watcher).await), []);
    let lease_time = Duration::from_secs(3);
    let before = register(&server, "a1", lease_time);
    assert_eq!(changed(&next(&mut watcher).await), [("/a/n".to_owned(), Some("a1".to_owned()))]);
    drop(before);
    let _now = register(&server, "a2", lease_time);
    let change = changed(&next(&mut watcher).await);
    assert_eq!(change, [("/a/n".to_owned(), Some("a2".to_owned()))], "the old lease has not expired first");
    let expired = tokio::time::timeout(2 * lease_time, watcher.next()).await;
    expired.expect_err("the key is not under the old lease any more");
}
