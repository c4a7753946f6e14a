//! Requests are read back as they were written, and no bytes make decoding panic.

use std::sync::Arc;

use ipnet::IpNet;

use super::wire::*;
use super::{RouteSocket, decode, encode, nexthop};
use crate::error::Refusal;
use crate::kernel::{
    Action, Content, Hop, Kernel, NexthopContent, Notice, Op, Ownership, Reading, Scope, Verb,
};

const OWNERSHIP: Ownership = Ownership { table: 1000, protocol: 12, metric: 1024 };

fn hop(gateway: Option<&str>, interface: u32, weight: u16) -> Hop {
    Hop { gateway: gateway.map(|gateway| gateway.parse().unwrap()), interface, onlink: false, weight }
}

fn content(hops: Vec<Hop>) -> Content {
    Content { action: Action::Unicast, nexthop_id: 0, hops, preferred_source: None, mtu: None }
}

fn contents() -> Vec<(&'static str, Content)> {
    let full = Content {
        preferred_source: "10.0.0.1".parse().ok(),
        mtu: Some(1400),
        ..content(vec![Hop { onlink: true, ..hop(Some("10.0.0.2"), 7, 1) }])
    };
    vec![
        ("10.1.0.0/16", content(vec![hop(Some("10.0.0.2"), 7, 1)])),
        ("10.1.0.0/16", content(vec![hop(Some("fe80::1"), 7, 1)])),
        ("0.0.0.0/0", content(vec![hop(None, 7, 1)])),
        ("10.1.0.0/16", content(vec![hop(Some("10.0.0.2"), 7, 1), hop(Some("fd00::2"), 8, 256)])),
        ("10.1.2.3/32", full),
        ("fd01::/64", content(vec![hop(Some("fd00::2"), 7, 3), hop(Some("fd00::3"), 7, 1)])),
        ("fd01::/64", Content { nexthop_id: 77, ..content(vec![]) }),
        ("10.2.0.0/16", Content { action: Action::Blackhole, ..content(vec![]) }),
        ("fd02::/64", Content { action: Action::Prohibit, ..content(vec![]) }),
        ("::/0", Content { action: Action::Unreachable, ..content(vec![]) }),
    ]
}

fn encoded(op: Op) -> Vec<u8> {
    let mut encoder = encode::Encoder::new(OWNERSHIP);
    assert_eq!(encoder.encode_batch(&[op], 1, usize::MAX), 1);
    encoder.bytes().to_vec()
}

#[test]
fn routes_are_read_as_they_were_written() {
    for (prefix, content) in contents() {
        let prefix: IpNet = prefix.parse().unwrap();
        let bytes = encoded(Op::SetRoute {
            prefix,
            metric: 1024,
            verb: Verb::Create,
            content: Arc::new(content.clone()),
        });
        let message = messages(&bytes).next().unwrap();
        assert_eq!(message.flags, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK);
        let route = decode::route(message.payload).unwrap();
        assert_eq!((route.prefix, route.metric, route.protocol, route.table), (prefix, 1024, 12, 1000));
        let hops = content.hops.iter().map(|hop| match content.hops.len() {
            1 => Hop { weight: 1, ..hop.clone() },
            _ => hop.clone(),
        });
        let mut expected = Content { hops: hops.collect(), ..content };
        expected.hops.sort_unstable();
        assert_eq!(route.content, expected);
    }
}

#[test]
fn nexthop_objects_are_read_as_they_were_written() {
    let single = NexthopContent::Single { gateway: "fd00::2".parse().ok(), interface: 7, onlink: true };
    for content in [single, NexthopContent::Group(vec![(5, 1), (6, 256)])] {
        let bytes = encoded(Op::SetNexthop { id: 9, content: content.clone(), verb: Verb::Replace });
        let message = messages(&bytes).next().unwrap();
        assert_eq!(message.flags, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE | NLM_F_ACK);
        let read = nexthop::decode(message.payload).unwrap();
        assert_eq!((read.id, read.protocol, read.content), (9, 12, content));
    }
}

#[test]
fn a_batch_asks_for_one_acknowledgement_and_ends_where_the_buffer_does() {
    let delete = |index: u8| Op::DeleteRoute {
        prefix: IpNet::from(std::net::IpAddr::from([10, 0, 0, index])),
        metric: 1,
    };
    let ops: Vec<Op> = (0..100).map(delete).collect();
    let mut encoder = encode::Encoder::new(OWNERSHIP);
    let count = encoder.encode_batch(&ops, 500, 1000);
    let sent: Vec<_> = messages(encoder.bytes()).map(|message| (message.sequence, message.flags)).collect();
    assert!(encoder.bytes().len() <= 1000);
    assert_eq!(sent.len(), count);
    assert_eq!(sent[0], (500, NLM_F_REQUEST));
    assert_eq!(sent[count - 1], (499 + count as u32, NLM_F_REQUEST | NLM_F_ACK));
    assert_eq!(encoder.encode_batch(&ops, 500, 1), 1, "one always goes");
}

#[test]
fn a_refusal_carries_the_kernels_text() {
    let mut writer = Writer::default();
    writer.begin(NLMSG_ERROR, NLM_F_CAPPED | NLM_F_ACK_TLVS, 3);
    writer.put(&(-libc::ENETUNREACH).to_ne_bytes());
    writer.put(&[0; HEADER_LEN]);
    writer.attribute(NLMSGERR_ATTR_MSG, b"Nexthop has invalid gateway\0");
    writer.finish();
    let message = messages(writer.bytes()).next().unwrap();
    let refusal = Refusal::with_text(libc::ENETUNREACH, "Nexthop has invalid gateway");
    assert_eq!(decode::refusal(&message), Some(refusal));
}

#[test]
fn a_foreign_route_of_our_table_is_noticed_and_another_table_is_not_ours() {
    let prefix: IpNet = "10.1.0.0/16".parse().unwrap();
    let bytes = encoded(Op::DeleteRoute { prefix, metric: 5 });
    let message = messages(&bytes).next().unwrap();
    let notice = decode::notice(&message, &OWNERSHIP);
    assert_eq!(notice, Some(Notice::RouteRemoved { prefix, metric: 5, protocol: 12 }));
    let elsewhere = Ownership { table: 254, ..OWNERSHIP };
    assert_eq!(decode::notice(&message, &elsewhere), Some(Notice::OtherRoute { prefix: Some(prefix) }));
}

fn decode_everything(bytes: &[u8]) {
    for message in messages(bytes) {
        let _ = decode::refusal(&message);
        let _ = decode::notice(&message, &OWNERSHIP);
        let _ = decode::link(message.payload);
        let _ = nexthop::decode(message.payload);
    }
    let _ = decode::route(bytes);
    let _ = nexthop::decode(bytes);
    let _ = decode::link(bytes);
}

#[test]
fn no_truncation_of_any_message_panics() {
    for (prefix, content) in contents() {
        let prefix = prefix.parse().unwrap();
        let bytes =
            encoded(Op::SetRoute { prefix, metric: 1024, verb: Verb::Create, content: Arc::new(content) });
        for len in 0..bytes.len() {
            decode_everything(&bytes[..len]);
            // Also with a header that says that this is all.
            let mut cut = bytes[..len].to_vec();
            if let Some(field) = cut.get_mut(..4) {
                field.copy_from_slice(&(len as u32).to_ne_bytes());
            }
            decode_everything(&cut);
        }
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200), kind in 16u16..110) {
        decode_everything(&bytes);
        let mut writer = Writer::default();
        writer.begin(kind, 0, 1);
        writer.put(&bytes);
        writer.finish();
        decode_everything(writer.bytes());
    }
}

/// Runs `test` in a network namespace of its own. Where that is not possible it says so and is skipped, or fails if
/// `BGP_LAB_REQUIRE=1`.
#[allow(unsafe_code)]
fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let run = move || {
        // SAFETY: takes a flag word and no pointers; it affects the calling thread only, which is the test's own.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } == 0 {
            return test();
        }
        let is_required = std::env::var("BGP_LAB_REQUIRE").is_ok_and(|value| value == "1");
        assert!(!is_required, "a network namespace cannot be made: run as root");
        println!("SKIPPED: a network namespace cannot be made: run as root");
    };
    if let Err(panic) = std::thread::spawn(run).join() {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn a_batch_that_does_not_fit_goes_in_pieces_and_a_request_that_never_fits_is_refused_alone() {
    in_namespace(|| {
        let mut socket = RouteSocket::open(OWNERSHIP).unwrap();
        // The least that the kernel allows: about 4.5 KiB.
        socket2::SockRef::from(&socket.socket).set_send_buffer_size(1).unwrap();
        let blackhole = Arc::new(Content { action: Action::Blackhole, ..content(vec![]) });
        let gateways = (0..256_u32).map(|index| format!("fd00::{index:x}"));
        let hops = gateways.map(|gateway| hop(Some(&gateway), 7, 1)).collect();
        let too_long = Arc::new(content(hops));
        let op = |index: u32| Op::SetRoute {
            prefix: IpNet::new(std::net::Ipv4Addr::from((20 << 24) + (index << 8)).into(), 24).unwrap(),
            metric: 1024,
            verb: Verb::Create,
            content: Arc::clone(if index == 150 { &too_long } else { &blackhole }),
        };
        let ops: Vec<Op> = (0..301).map(op).collect();
        let refusals = socket.execute(&ops).unwrap();
        assert_eq!(refusals, [(150, Refusal::new(libc::EMSGSIZE))]);
        let all = Reading { scope: Scope::Full, gateways: Vec::new() };
        assert_eq!(socket.read(&all).unwrap().routes.map(|routes| routes.len()), Some(300));
    });
}
