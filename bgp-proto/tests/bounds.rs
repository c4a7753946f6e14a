//! Memory at most a small constant times the message's length; time linear in it.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use bgp_proto::*;
use common::{families, fixtures, hex, message, strategies};
use nix::time::{ClockId, clock_gettime};
use proptest::prelude::*;

/// Octets that one octet of a message may cost in all, temporaries included. The dearest are routes without any octets
/// but their length, whose values have 40.
const FACTOR: usize = 64;
/// Octets that any message may cost: what an error says about itself.
const BASE: usize = 4096;

/// Counts what each thread asks for; never subtracts, so that temporaries count too.
struct Counting;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

fn count(octets: usize) {
    // A thread that is ending has nothing to count for.
    let _ = ALLOCATED.try_with(|total| total.set(total.get() + octets));
}

#[expect(unsafe_code, reason = "an allocator cannot be written without; it hands everything to the system's")]
// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise is the one that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocated<T>(work: impl FnOnce() -> T) -> usize {
    let before = ALLOCATED.get();
    drop(work());
    ALLOCATED.get() - before
}

/// Decodes into a value or an error, and checks what that cost.
fn check(name: &str, params: &SessionParams, bytes: &[u8]) {
    let mut decoder = Decoder::new(params.clone());
    let octets = allocated(|| Message::decode(&mut decoder, bytes).map_err(|error| error.notification()));
    let limit = FACTOR * bytes.len() + BASE;
    assert!(octets <= limit, "{name}: {octets} octets for a message of {}", bytes.len());
}

#[test]
fn fixtures_and_their_mutations_stay_within_the_bound() {
    for fixture in fixtures::all() {
        check(fixture.name, &fixture.params, &fixture.bytes);
        for at in 0..fixture.bytes.len() {
            for value in 0..=u8::MAX {
                let mut bytes = fixture.bytes.clone();
                bytes[at] = value;
                check(fixture.name, &fixture.params, &bytes);
            }
        }
    }
}

#[test]
fn the_dearest_messages_stay_within_the_bound() {
    for (name, make) in SHAPES {
        for len in [100, 1000, 10_000, 60_000] {
            check(name, &params(), &make(len));
        }
    }
}

#[test]
fn views_allocate_nothing() {
    let params = params();
    for (name, make) in SHAPES {
        let bytes = make(4000);
        if bytes[18] != MessageType::UPDATE.0 {
            continue;
        }
        let octets = allocated(|| {
            let Ok(Some(found)) = frame(&bytes, &params) else { return 0 };
            let Ok(view) = UpdateView::parse(found.body()) else { return 0 };
            let mut seen = NlriIter::new(view.nlri, AfiSafi::IPV4_UNICAST, false).flatten().count();
            for raw in RawAttributes::new(view.attributes).flatten() {
                match raw.code {
                    AttributeCode::MP_REACH_NLRI => {
                        let reach = MpReachView::parse(raw.value, &params).unwrap();
                        seen += reach.opaque(&params).flatten().count();
                    }
                    AttributeCode::MP_UNREACH_NLRI => {
                        seen += MpUnreachView::parse(raw.value).unwrap().opaque(&params).flatten().count();
                    }
                    _ => seen += raw.tlv.len(),
                }
            }
            seen
        });
        assert_eq!(octets, 0, "{name}");
    }
}

/// Eight times the octets take about eight times as long; were it quadratic, sixty-four times. Counted is the processor's time,
/// because on a busy machine a long decode is interrupted and a short one is not.
#[test]
fn time_is_linear_in_the_length() {
    for (name, make) in SHAPES {
        let [short, long] = [8000, 64_000].map(|len| {
            let bytes = make(len);
            let mut decoder = Decoder::new(params());
            // The fastest of many: what else runs on the machine only adds.
            let once = || {
                let start = processor_time();
                drop(Message::decode(&mut decoder, &bytes));
                processor_time() - start
            };
            std::iter::repeat_with(once).take(10).min().unwrap()
        });
        assert!(
            long < short.max(Duration::from_micros(2)) * 32,
            "{name}: {short:?} for 8,000 octets, {long:?} for 64,000"
        );
    }
}

fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}

proptest! {
    #[test]
    fn arbitrary_bodies_stay_within_the_bound(
        params in strategies::params(),
        kind in 1..=5_u8,
        body in proptest::collection::vec(any::<u8>(), 0..2000),
    ) {
        check("arbitrary", &params, &message(kind, &body));
    }

    #[test]
    fn arbitrary_messages_stay_within_the_bound((params, value) in strategies::message()) {
        let mut bytes = bytes::BytesMut::new();
        if value.encode(&params, &mut bytes).is_ok() {
            check("a value", &params, &bytes);
        }
    }
}

fn params() -> SessionParams {
    SessionParams { extended_messages: true, ..fixtures::internal() }
}

/// A message of about so many octets.
type Shape = fn(usize) -> Vec<u8>;

/// What costs most per octet, in memory or in time.
const SHAPES: &[(&str, Shape)] = &[
    ("default routes", |len| update(&[], &vec![0; len])),
    ("withdrawn default routes", |len| {
        let len = len.min(65_000);
        message(2, &[&(len as u16).to_be_bytes()[..], &vec![0; len], &[0, 0]].concat())
    }),
    ("empty flow specifications", |len| update(&multiprotocol(14, families::FLOW, &[0, 0], len, &[0]), &[])),
    ("empty EVPN routes", |len| update(&multiprotocol(15, families::EVPN, &[], len, &[99, 0]), &[])),
    ("segments of one AS", |len| update(&attribute(0x50, 2, len, &[2, 1, 0, 0, 0, 1]), &[])),
    ("communities", |len| update(&attribute(0xd0, 8, len, &[0, 1, 0, 2]), &[])),
    ("large communities", |len| {
        let count = len / 12;
        let values: Vec<u8> =
            (0..count as u32).flat_map(|n| [1, n, n ^ 77].map(u32::to_be_bytes)).flatten().collect();
        update(&attribute(0xd0, 32, values.len(), &values), &[])
    }),
    ("attributes twice", |len| update(&[0x40, 1, 1, 0].repeat(len.min(65_000) / 4), &[0])),
    ("empty unknown attributes", |len| update(&[0xc0, 99, 0].repeat(len.min(65_000) / 3), &[0])),
    ("AIGP without content", |len| update(&attribute(0x90, 26, len, &[9, 0, 3]), &[])),
    ("capabilities", |len| open(&[2, 0].repeat(len.min(4000) / 2))),
    ("families of filters", |len| {
        let value = [&[3, 250][..], &[0, 1, 0, 1, 0].repeat(50)].concat();
        open(&value.repeat(len.min(4000) / value.len()))
    }),
];

fn attribute(flags: u8, code: u8, len: usize, unit: &[u8]) -> Vec<u8> {
    let value = unit.repeat(len.min(65_000) / unit.len());
    [&[flags, code][..], &(value.len() as u16).to_be_bytes(), &value].concat()
}

fn multiprotocol(code: u8, family: AfiSafi, head: &[u8], len: usize, unit: &[u8]) -> Vec<u8> {
    let head = [&family.afi.0.to_be_bytes()[..], &[family.safi.0], head].concat();
    let value = [&head[..], &unit.repeat(len.min(65_000) / unit.len())].concat();
    [&[0x90, code][..], &(value.len() as u16).to_be_bytes(), &value].concat()
}

fn update(attributes: &[u8], nlri: &[u8]) -> Vec<u8> {
    let nlri = &nlri[..nlri.len().min(65_400)];
    let len = (attributes.len() as u16).to_be_bytes();
    message(2, &[&[0, 0], &len[..], attributes, nlri].concat())
}

/// In the extended form of RFC 9072.
fn open(capabilities: &[u8]) -> Vec<u8> {
    let len = capabilities.len() as u16;
    let lens = [&(len + 3).to_be_bytes()[..], &[2], &len.to_be_bytes()].concat();
    message(1, &[&hex("04 fde8 00b4 c0000201 ff ff")[..], &lens, capabilities].concat())
}
