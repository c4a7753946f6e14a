//! The library over real sockets on loopback: what an embedding agent sees.

use bgp_speaker::config::{Secret, SessionOptions};
use bgp_speaker::view::{RouteQuery, RouteTable};
use bgp_speaker::{Announcement, Neighbor, RouteChange, Speaker, Stop};
use ipnet::IpNet;
use std::net::IpAddr;
use std::time::Duration;

const A: &str = "127.0.7.1";
const B: &str = "127.0.7.2";
const PATIENCE: Duration = Duration::from_secs(20);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// A passive speaker at A, and one at B that connects to it.
async fn pair() -> (Speaker, Speaker) {
    pair_with(SessionOptions::default(), SessionOptions::default()).await
}

async fn pair_with(at_a: SessionOptions, at_b: SessionOptions) -> (Speaker, Speaker) {
    let a = Speaker::builder()
        .router_id(A.parse().unwrap())
        .listen(format!("{A}:0").parse().unwrap())
        .neighbor(Neighbor { options: at_a, ..Neighbor::ibgp(ip(B)).passive() })
        .start()
        .await
        .unwrap();
    let port = a.listening()[0].port();
    let b = Speaker::builder()
        .router_id(B.parse().unwrap())
        .neighbor(Neighbor { options: at_b, ..Neighbor::ibgp(ip(A)).port(port).local_address(ip(B)) })
        .announce(Announcement::block(net("10.2.0.0/26")))
        .start()
        .await
        .unwrap();
    (a, b)
}

async fn next_learned(routes: &mut bgp_speaker::RouteSubscription) -> RouteChange {
    let wait = async {
        loop {
            match routes.next().await.expect("the speaker runs") {
                RouteChange::Kernel { .. } | RouteChange::Local { .. } | RouteChange::Converged => {}
                change => return change,
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("a change within the time")
}

#[tokio::test]
async fn two_speakers_exchange_routes_and_one_leaves() {
    let (a, b) = pair().await;
    let mut routes = a.subscribe();
    let learned = next_learned(&mut routes).await;
    assert!(
        matches!(&learned, RouteChange::Learned { prefix, next_hop, from, .. }
            if *prefix == net("10.2.0.0/26") && next_hop.addr() == ip(B) && *from == ip(B)),
        "{learned:?}"
    );

    let mut at_b = b.subscribe();
    a.announce(Announcement::route(net("10.1.0.0/16"))).await.unwrap();
    assert!(
        matches!(next_learned(&mut at_b).await, RouteChange::Learned { prefix, .. } if prefix == net("10.1.0.0/16"))
    );
    assert!(a.withdraw(net("10.1.0.0/16")).await.unwrap());
    assert_eq!(next_learned(&mut at_b).await, RouteChange::Withdrawn { prefix: net("10.1.0.0/16") });

    let query =
        RouteQuery { table: RouteTable::Received, neighbor: Some(ip(B).into()), ..RouteQuery::default() };
    let received = a.routes(query).await.unwrap();
    assert_eq!(received.routes.len(), 1);
    assert_eq!(a.neighbors().await.unwrap()[0].state, "Established");

    // Our own announcement came and went here too.
    assert_eq!(next_learned(&mut routes).await, RouteChange::Withdrawn { prefix: net("10.1.0.0/16") });
    b.stop(Stop::Leave).await.unwrap();
    assert_eq!(next_learned(&mut routes).await, RouteChange::Withdrawn { prefix: net("10.2.0.0/26") });
    let neighbors = a.neighbors().await.unwrap();
    assert!(neighbors[0].last_error.as_ref().unwrap().contains("Administrative Shutdown"), "{neighbors:?}");
    a.stop(Stop::Leave).await.unwrap();
}

#[tokio::test]
async fn a_restarting_speaker_keeps_its_routes_at_the_neighbour() {
    let (a, b) = pair().await;
    let mut routes = a.subscribe();
    next_learned(&mut routes).await;
    b.stop(Stop::Restart).await.unwrap();
    let wait = async {
        while !a.neighbors().await.unwrap()[0].restarting {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("the neighbour is seen restarting");
    let all = a.routes(RouteQuery::default()).await.unwrap();
    assert!(all.routes.iter().any(|route| route.stale && route.best), "{all:?}");
}

#[tokio::test]
async fn a_handle_outlives_its_speaker_and_says_so() {
    let (a, b) = pair().await;
    let handle = a.handle();
    drop(a);
    tokio::time::timeout(PATIENCE, handle.stopped()).await.expect("dropping stops the driver");
    assert!(handle.status().await.is_err());
    drop(b);
}

#[tokio::test]
async fn a_port_in_use_is_told_with_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = Speaker::builder().router_id([1, 1, 1, 1].into()).listen(address).start().await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&address.to_string()) && text.contains("another BGP daemon"), "{text}");
}

#[tokio::test]
async fn two_speakers_at_one_address_are_two_neighbours() {
    let at_c = |id: u8, prefix: &str| {
        Speaker::builder()
            .router_id([127, 0, 8, id].into())
            .listen("127.0.7.3:0".parse().unwrap())
            .neighbor(Neighbor::ibgp(ip(A)).passive())
            .announce(Announcement::block(net(prefix)))
            .start()
    };
    let (one, other) = (at_c(1, "10.3.1.0/26").await.unwrap(), at_c(2, "10.3.2.0/26").await.unwrap());
    let neighbor =
        |of: &Speaker| Neighbor::ibgp(ip("127.0.7.3")).port(of.listening()[0].port()).local_address(ip(A));
    let a = Speaker::builder()
        .router_id(A.parse().unwrap())
        .neighbor(neighbor(&one))
        .neighbor(neighbor(&other))
        .start()
        .await
        .unwrap();
    let mut routes = a.subscribe();
    let mut learned = Vec::new();
    while learned.len() < 2 {
        if let RouteChange::Learned { prefix, .. } = next_learned(&mut routes).await {
            learned.push(prefix);
        }
    }
    learned.sort();
    assert_eq!(learned, [net("10.3.1.0/26"), net("10.3.2.0/26")]);
    let received = async |of: &Speaker| {
        let neighbor = Some(neighbor(of).id().into());
        let query = RouteQuery { table: RouteTable::Received, neighbor, ..RouteQuery::default() };
        a.routes(query).await.unwrap().routes.into_iter().map(|route| route.prefix).collect::<Vec<_>>()
    };
    assert_eq!(received(&one).await, [net("10.3.1.0/26")]);
    assert_eq!(received(&other).await, [net("10.3.2.0/26")]);
    let both = a.reset(ip("127.0.7.3")).await.unwrap_err().to_string();
    assert!(both.contains("several neighbours"), "{both}");
    a.set_enabled(neighbor(&one).id(), false).await.unwrap();
    assert_eq!(next_learned(&mut routes).await, RouteChange::Withdrawn { prefix: net("10.3.1.0/26") });
    assert_eq!(received(&other).await, [net("10.3.2.0/26")]);
}

fn secured(password: &str) -> SessionOptions {
    SessionOptions {
        password: Some(Secret::new(password)),
        ttl_security: Some(1),
        ..SessionOptions::default()
    }
}

#[tokio::test]
async fn a_session_with_a_password_and_ttl_security_comes_up() {
    let (a, b) = pair_with(secured("correct horse"), secured("correct horse")).await;
    next_learned(&mut a.subscribe()).await;
    drop((a, b));
}

#[tokio::test]
async fn who_connects_from_too_far_away_gets_not_one_octet() {
    let near = SessionOptions { ttl_security: Some(1), ..SessionOptions::default() };
    let a = Speaker::builder()
        .router_id(A.parse().unwrap())
        .listen(format!("{A}:0").parse().unwrap())
        .neighbor(Neighbor { options: near, ..Neighbor::ibgp(ip(B)).passive() })
        .start()
        .await
        .unwrap();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((ip(B), 0).into()).unwrap();
    // Of the system's TTL, which is far below 255.
    let mut stream = socket.connect(a.listening()[0]).await.unwrap();
    let mut octets = Vec::new();
    let read = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut octets);
    // A reset is as good as an end.
    let outcome = tokio::time::timeout(PATIENCE, read).await.expect("the connection is refused");
    assert!(octets.is_empty(), "{outcome:?}, after {octets:?}");
    assert_eq!(a.neighbors().await.unwrap()[0].state, "Idle");
}

#[tokio::test]
async fn different_passwords_give_no_session() {
    let (a, b) = pair_with(secured("correct horse"), secured("battery staple")).await;
    // The kernel drops the segments, so that the attempt runs into the engine's time for it.
    let wait = async {
        while b.neighbors().await.unwrap()[0].state != "Connect" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("an attempt is under way");
    let up = tokio::time::timeout(Duration::from_secs(2), next_learned(&mut a.subscribe())).await;
    assert!(up.is_err(), "no route may come over a connection that is not authenticated");
    drop((a, b));
}
