//! Recorded sessions as text: what was negotiated, then one message a line.

use std::path::{Path, PathBuf};

use bgp_proto::{AddPathDirection, Afi, AfiSafi, Capability, FamilySet, Open, PeerType, SessionParams};

/// Where the recordings are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/wire")
}

/// One recorded session.
#[allow(dead_code, reason = "for the replay alone")]
pub struct Recording {
    /// What the two ends agreed upon, as the receiver sees it.
    pub params: SessionParams,
    /// Whole messages, in the order sent.
    pub messages: Vec<Recorded>,
}

/// One message.
#[allow(dead_code, reason = "for the replay alone")]
pub struct Recorded {
    /// With its header.
    pub octets: Vec<u8>,
    /// Why it must not be accepted: daemons have bugs.
    pub refused: Option<String>,
}

/// What the two OPENs agree upon, for who received `theirs`.
#[allow(dead_code, reason = "for the recorder alone")]
pub fn negotiate(ours: &Open, theirs: &Open) -> SessionParams {
    let has = |open: &Open, wanted: &Capability| open.capabilities.contains(wanted);
    let four_octet =
        |open: &Open| open.capabilities.iter().any(|one| matches!(one, Capability::FourOctetAs(_)));
    let both_extended = [ours, theirs].iter().all(|open| has(open, &Capability::ExtendedMessage));
    let directions = |open: &Open| -> Vec<(AfiSafi, AddPathDirection)> {
        open.capabilities
            .iter()
            .filter_map(
                |one| if let Capability::AddPath(families) = one { Some(families.clone()) } else { None },
            )
            .flatten()
            .collect()
    };
    let receives: Vec<AfiSafi> =
        directions(ours).into_iter().filter(|(_, way)| way.receives()).map(|(family, _)| family).collect();
    let sends = directions(theirs).into_iter().filter(|(_, way)| way.sends()).map(|(family, _)| family);
    let next_hops = |open: &Open| -> FamilySet {
        open.capabilities
            .iter()
            .filter_map(
                |one| if let Capability::ExtendedNextHop(list) = one { Some(list.clone()) } else { None },
            )
            .flatten()
            .filter(|(_, afi)| *afi == Afi::IPV6)
            .map(|(family, _)| family)
            .collect()
    };
    let ours_next_hops = next_hops(ours);
    SessionParams {
        peer_type: if ours.asn == theirs.asn { PeerType::Internal } else { PeerType::External },
        four_octet_as: four_octet(ours) && four_octet(theirs),
        extended_messages: both_extended,
        add_path_rx: sends.filter(|family| receives.contains(family)).collect(),
        add_path_tx: FamilySet::new(),
        extended_next_hop: next_hops(theirs)
            .iter()
            .filter(|family| ours_next_hops.contains(*family))
            .collect(),
    }
}

/// `internal four-octet-as extended-messages add-path=ipv4-unicast,ipv6-unicast extended-next-hop=ipv4-unicast`
#[allow(dead_code, reason = "for the recorder alone")]
pub fn write_params(params: &SessionParams) -> String {
    let mut words = vec![match params.peer_type {
        PeerType::Internal => "internal".to_owned(),
        PeerType::External => "external".to_owned(),
    }];
    if params.four_octet_as {
        words.push("four-octet-as".to_owned());
    }
    if params.extended_messages {
        words.push("extended-messages".to_owned());
    }
    for (name, families) in
        [("add-path", &params.add_path_rx), ("extended-next-hop", &params.extended_next_hop)]
    {
        let list: Vec<String> = families.iter().map(|family| family.to_string()).collect();
        if !list.is_empty() {
            words.push(format!("{name}={}", list.join(",")));
        }
    }
    words.join(" ")
}

#[allow(dead_code, reason = "for the replay alone")]
fn read_params(text: &str) -> SessionParams {
    let mut params = SessionParams::default();
    for word in text.split_whitespace() {
        let (name, list) = word.split_once('=').unwrap_or((word, ""));
        let families = || list.split(',').map(|name| name.parse().expect("a family")).collect::<FamilySet>();
        match name {
            "internal" => params.peer_type = PeerType::Internal,
            "external" => params.peer_type = PeerType::External,
            "four-octet-as" => params.four_octet_as = true,
            "extended-messages" => params.extended_messages = true,
            "add-path" => {
                params.add_path_rx = families();
                // So that what was read can be written again.
                params.add_path_tx = families();
            }
            "extended-next-hop" => params.extended_next_hop = families(),
            other => panic!("unknown word {other:?} in a recording"),
        }
    }
    params
}

/// Reads a recording: lines of hexadecimal, comments, and one `# session: ` line.
#[allow(dead_code, reason = "for the replay alone")]
pub fn read(text: &str) -> Recording {
    let session = text.lines().find_map(|line| line.strip_prefix("# session: ")).expect("a session line");
    let (mut messages, mut refused) = (Vec::new(), None);
    for line in text.lines().filter(|line| !line.is_empty()) {
        match line.strip_prefix("# refused: ") {
            Some(why) => refused = Some(why.to_owned()),
            None if line.starts_with('#') => {}
            None => messages.push(Recorded { octets: octets(line), refused: refused.take() }),
        }
    }
    Recording { params: read_params(session), messages }
}

fn octets(line: &str) -> Vec<u8> {
    assert!(line.is_ascii() && line.len().is_multiple_of(2), "whole octets");
    (0..line.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&line[at..at + 2], 16).expect("hexadecimal"))
        .collect()
}
