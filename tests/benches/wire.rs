//! How fast the codec is on an Internet-like table: a million prefixes of realistic lengths, about three per attribute
//! set, the same for every run. An established parser reads the same bytes in the same run.
//!
//! ```text
//! cargo bench -p bgp-lab --bench wire
//! ```
//!
//! | Group | One element is | What is measured |
//! |---|---|---|
//! | `packed` | a prefix, 200 per UPDATE | what a table transfer to a speaker with interned attributes costs |
//! | `full` | a prefix, 3 per UPDATE | every attribute decoded each time |
//!
//! `views` is how a speaker reads (borrowing), `values` is how a tool does (owned messages).

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::Duration;

use bgp_proto::{
    AfiSafi, Aggregator, AsPath, Asn, Community, Decoder, HEADER_LEN, LargeCommunity, MAX_PREFIX_WIRE_LEN,
    Message, MessageType, NlriIter, Origin, PathAttributes, PathNlri, SessionParams, Update, UpdateView,
    decode_attributes, finish_message, frame, put_header, put_prefix,
};
use bgpkit_parser::models::AsnLength;
use bgpkit_parser::parser::bgp::messages::parse_bgp_message;
use bytes::{BufMut, Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ipnet::{IpNet, Ipv4Net};

const PREFIXES: usize = 1_000_000;

/// Prefixes per length, in thousandths, as in the routing tables of 2026.
const LENGTHS: [(u8, u64); 14] = [
    (8, 1),
    (11, 1),
    (13, 1),
    (14, 2),
    (15, 3),
    (16, 14),
    (17, 9),
    (18, 14),
    (19, 26),
    (20, 45),
    (21, 52),
    (22, 117),
    (23, 105),
    (24, 610),
];

/// Numbers that only look random: splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn in_thousand(&mut self, share: u64) -> bool {
        self.below(1000) < share
    }
}

fn prefix(random: &mut Random) -> PathNlri {
    let mut left = random.below(1000);
    let drawn = LENGTHS.iter().find(|(_, share)| match left.checked_sub(*share) {
        Some(rest) => {
            left = rest;
            false
        }
        None => true,
    });
    let bits = drawn.map_or(24, |(bits, _)| *bits);
    // 1.0.0.0 to 223.255.255.255
    let address = 0x0100_0000 + random.below(0xdf00_0000) as u32;
    let net = Ipv4Net::new(Ipv4Addr::from_bits(address), bits).expect("at most 24 bits").trunc();
    IpNet::V4(net).into()
}

fn attributes(random: &mut Random) -> PathAttributes {
    let path_len = [2, 3, 3, 4, 4, 4, 5, 5, 6, 9][random.below(10) as usize];
    let mut asns: Vec<Asn> = (0..path_len).map(|_| Asn(1000 + random.below(400_000) as u32)).collect();
    if random.in_thousand(150) {
        // Prepending, at the far end.
        let origin = asns[path_len - 1];
        asns.extend([origin; 2]);
    }
    let communities = match random.below(10) {
        0..3 => 0,
        count => count * 2,
    };
    let large = if random.in_thousand(200) { 3 } else { 0 };
    PathAttributes {
        origin: Some(if random.in_thousand(950) { Origin::Igp } else { Origin::Incomplete }),
        as_path: Some(AsPath::sequence(asns)),
        next_hop: Some(Ipv4Addr::new(192, 0, 2, 1 + random.below(8) as u8)),
        med: random.in_thousand(400).then(|| random.below(1000) as u32),
        atomic_aggregate: random.in_thousand(60),
        aggregator: random.in_thousand(90).then(|| Aggregator {
            asn: Asn(1000 + random.below(400_000) as u32),
            address: Ipv4Addr::from_bits(random.next() as u32),
        }),
        communities: (0..communities).map(|_| Community(random.next() as u32)).collect(),
        large_communities: (0..large)
            .map(|local| LargeCommunity {
                global: random.next() as u32,
                local1: local,
                local2: random.next() as u32,
            })
            .collect(),
        ..PathAttributes::default()
    }
}

/// The table as UPDATEs of `per_update` prefixes, as values and as the bytes of a session.
fn table(per_update: usize) -> (Vec<Message>, Bytes) {
    let mut random = Random(2026);
    let mut messages = Vec::new();
    let mut stream = BytesMut::new();
    for start in (0..PREFIXES).step_by(per_update) {
        let count = per_update.min(PREFIXES - start);
        let update = Update {
            attributes: attributes(&mut random),
            nlri: (0..count).map(|_| prefix(&mut random)).collect(),
            ..Update::default()
        };
        messages.push(Message::Update(update));
    }
    for message in &messages {
        message.encode(&params(), &mut stream).expect("fits a message");
    }
    (messages, stream.freeze())
}

fn params() -> SessionParams {
    SessionParams { four_octet_as: true, ..SessionParams::default() }
}

/// As a speaker does that has seen the attributes before: every prefix as a key for its table.
fn read_prefixes(stream: &[u8], params: &SessionParams) -> (usize, u64) {
    let (mut count, mut sum) = (0, 0);
    let mut rest = stream;
    let mut key = [0; MAX_PREFIX_WIRE_LEN];
    while let Some(found) = frame(rest, params).expect("a sound stream") {
        let view = UpdateView::parse(found.body()).expect("a sound UPDATE");
        sum += view.attributes.len() as u64;
        for nlri in NlriIter::new(view.nlri, AfiSafi::IPV4_UNICAST, false) {
            let len = nlri.expect("sound NLRI").canonical(&mut key);
            sum = sum.wrapping_add(u64::from(key[len - 1]));
            count += 1;
        }
        rest = &rest[found.bytes.len()..];
    }
    (count, sum)
}

/// As a speaker does that sees every attribute set for the first time.
fn read_all(stream: &[u8], params: &SessionParams) -> usize {
    let mut count = 0;
    let mut rest = stream;
    let mut key = [0; MAX_PREFIX_WIRE_LEN];
    while let Some(found) = frame(rest, params).expect("a sound stream") {
        let view = UpdateView::parse(found.body()).expect("a sound UPDATE");
        let report = decode_attributes(view.attributes, params, view.mandatory_needs());
        assert!(report.action.is_none());
        black_box(&report.attributes);
        for nlri in NlriIter::new(view.nlri, AfiSafi::IPV4_UNICAST, false) {
            black_box(nlri.expect("sound NLRI").canonical(&mut key));
            count += 1;
        }
        rest = &rest[found.bytes.len()..];
    }
    count
}

fn read_values(stream: &[u8], params: &SessionParams) -> usize {
    let mut decoder = Decoder::new(params.clone());
    let mut count = 0;
    let mut rest = stream;
    while let Some(found) = frame(rest, params).expect("a sound stream") {
        if let Message::Update(update) = Message::decode_frame(&mut decoder, found).expect("a sound UPDATE") {
            count += black_box(update).nlri.len();
        }
        rest = &rest[found.bytes.len()..];
    }
    count
}

fn read_with_bgpkit(stream: &Bytes) -> usize {
    let mut count = 0;
    let mut rest = stream.clone();
    while !rest.is_empty() {
        // It wants exactly one message.
        let len = usize::from(u16::from_be_bytes([rest[16], rest[17]]));
        let mut message = rest.split_to(len);
        match parse_bgp_message(&mut message, false, &AsnLength::Bits32) {
            Ok(bgpkit_parser::models::BgpMessage::Update(update)) => {
                count += black_box(update).announced_prefixes.len();
            }
            other => panic!("a sound UPDATE: {other:?}"),
        }
    }
    count
}

/// As a speaker does: a block that was encoded once, and the prefixes of its table.
fn write_prefixes(blocks: &[(BytesMut, Vec<IpNet>)], out: &mut BytesMut) {
    for (block, prefixes) in blocks {
        let start = put_header(out, MessageType::UPDATE);
        out.put_u16(0);
        out.put_u16(block.len() as u16);
        out.put_slice(block);
        prefixes.iter().for_each(|prefix| put_prefix(out, *prefix));
        finish_message(out, start);
    }
}

/// As a speaker does that writes every attribute set anew.
fn write_all(messages: &[Message], params: &SessionParams, out: &mut BytesMut) {
    for message in messages {
        let Message::Update(update) = message else { continue };
        let start = put_header(out, MessageType::UPDATE);
        out.put_u32(0);
        let block = out.len();
        update.attributes.encode(params, out);
        let len = (out.len() - block) as u16;
        out[block - 2..block].copy_from_slice(&len.to_be_bytes());
        update.nlri.iter().for_each(|nlri| put_prefix(out, nlri.prefix));
        finish_message(out, start);
    }
}

fn write_values(messages: &[Message], params: &SessionParams, out: &mut BytesMut) {
    for message in messages {
        message.encode(params, out).expect("fits a message");
    }
}

fn blocks(messages: &[Message], params: &SessionParams) -> Vec<(BytesMut, Vec<IpNet>)> {
    let updates = messages.iter().filter_map(|message| match message {
        Message::Update(update) => Some(update),
        _ => None,
    });
    updates
        .map(|update| {
            let mut block = BytesMut::new();
            update.attributes.encode(params, &mut block);
            (block, update.nlri.iter().map(|nlri| nlri.prefix).collect())
        })
        .collect()
}

fn bench(criterion: &mut Criterion, name: &str, per_update: usize) {
    let params = params();
    let (messages, stream) = table(per_update);
    println!("{name}: {} UPDATEs, {} octets", messages.len(), stream.len());
    assert!(stream.len() > messages.len() * HEADER_LEN);
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(PREFIXES as u64));
    group.sample_size(10).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    if per_update == 3 {
        group.bench_function("decode views", |bencher| {
            bencher.iter(|| assert_eq!(read_all(black_box(&stream), &params), PREFIXES));
        });
    } else {
        group.bench_function("decode views", |bencher| {
            bencher.iter(|| assert_eq!(read_prefixes(black_box(&stream), &params).0, PREFIXES));
        });
    }
    group.bench_function("decode values", |bencher| {
        bencher.iter(|| assert_eq!(read_values(black_box(&stream), &params), PREFIXES));
    });
    group.bench_function("decode with bgpkit-parser", |bencher| {
        bencher.iter(|| assert_eq!(read_with_bgpkit(black_box(&stream)), PREFIXES));
    });
    let mut out = BytesMut::with_capacity(stream.len());
    if per_update == 3 {
        group.bench_function("encode", |bencher| {
            bencher.iter(|| {
                out.clear();
                write_all(black_box(&messages), &params, &mut out);
                assert_eq!(out.len(), stream.len());
            });
        });
    } else {
        let blocks = blocks(&messages, &params);
        group.bench_function("encode", |bencher| {
            bencher.iter(|| {
                out.clear();
                write_prefixes(black_box(&blocks), &mut out);
                assert_eq!(out.len(), stream.len());
            });
        });
    }
    group.bench_function("encode values", |bencher| {
        bencher.iter(|| {
            out.clear();
            write_values(black_box(&messages), &params, &mut out);
            assert_eq!(out.len(), stream.len());
        });
    });
    group.finish();
}

fn packed(criterion: &mut Criterion) {
    bench(criterion, "packed", 200);
}

fn full(criterion: &mut Criterion) {
    bench(criterion, "full", 3);
}

criterion_group!(benches, packed, full);
criterion_main!(benches);
