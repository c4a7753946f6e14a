//! What can be read of a message that is not as it should be, a line for each part.

use super::hex;
use bgp_proto::{
    AfiSafi, Asn, AttributeCode, AttributeFlags, BgpId, HEADER_LEN, MandatoryNeeds, MessageType, MpReachView,
    MpUnreachView, NlriIter, PathAttributes, RawAttribute, RawAttributes, SessionParams, UpdateView,
    decode_attributes,
};

/// Prefixes shown of a field.
const PREFIXES_SHOWN: usize = 20;
/// Octets shown of an attribute.
const VALUE_SHOWN: usize = 64;
/// Lines of a message.
const LINES_MAX: usize = 64;

/// The type, if the octets begin as a message does.
pub(super) fn kind(octets: &[u8]) -> Option<MessageType> {
    let (header, _) = octets.split_first_chunk::<HEADER_LEN>()?;
    let kind = MessageType(header[18]);
    (header[..16] == [0xff; 16] && kind.name().is_some()).then_some(kind)
}

/// As much as can be read.
pub(super) fn message(kind: Option<MessageType>, octets: &[u8], params: &SessionParams) -> Vec<String> {
    let body = octets.get(HEADER_LEN..).unwrap_or_default();
    let mut lines = match kind {
        Some(MessageType::UPDATE) => update(body, params),
        Some(MessageType::OPEN) => open(body),
        _ => Vec::new(),
    };
    if lines.len() > LINES_MAX {
        lines.truncate(LINES_MAX);
        lines.push("…".to_owned());
    }
    lines
}

/// The fields that are always there (RFC 4271 §4.2).
fn open(body: &[u8]) -> Vec<String> {
    let Some((&[version, a, b, h, i, w, x, y, z], rest)) = body.split_first_chunk::<9>() else {
        return vec!["shorter than an OPEN".to_owned()];
    };
    vec![
        format!("version {version}"),
        format!("AS {}", Asn(u16::from_be_bytes([a, b]).into())),
        format!("hold time {} s", u16::from_be_bytes([h, i])),
        format!("BGP identifier {}", BgpId(u32::from_be_bytes([w, x, y, z]))),
        format!("optional parameters {}", shown(rest)),
    ]
}

fn update(body: &[u8], params: &SessionParams) -> Vec<String> {
    let view = match UpdateView::parse(body) {
        Ok(view) => view,
        Err(error) => return vec![format!("its fields cannot be told apart: {error}")],
    };
    let v4 = AfiSafi::IPV4_UNICAST;
    let mut lines = Vec::new();
    lines.extend(prefixes("withdrawn", view.withdrawn, v4, params));
    for attribute in RawAttributes::new(view.attributes) {
        match attribute {
            Ok(attribute) => lines.extend(self::attribute(&attribute, params)),
            Err(error) => lines.push(format!("the rest of the attributes: {error}")),
        }
    }
    lines.extend(prefixes("announced", view.nlri, v4, params));
    lines
}

fn attribute(attribute: &RawAttribute<'_>, params: &SessionParams) -> Vec<String> {
    let length = match attribute.value.len() {
        0 => "empty".to_owned(),
        1 => format!("1 octet: {}", shown(attribute.value)),
        length => format!("{length} octets: {}", shown(attribute.value)),
    };
    let (code, flags) = (attribute.code, attribute.flags);
    let head = format!("{code} ({}) flags 0x{:02x} ({}), {length}", code.0, flags.0, set_flags(flags));
    let mut lines = Vec::new();
    match attribute.code {
        AttributeCode::MP_REACH_NLRI => {
            lines.push(head);
            if let Ok(reach) = MpReachView::parse(attribute.value, params) {
                lines.push(format!("  {} with next hop {}", reach.family, reach.next_hop));
                lines.extend(prefixes("  announced", reach.nlri, reach.family, params));
            }
        }
        AttributeCode::MP_UNREACH_NLRI => {
            lines.push(head);
            if let Ok(unreach) = MpUnreachView::parse(attribute.value) {
                lines.push(format!("  {}", unreach.family));
                lines.extend(prefixes("  withdrawn", unreach.nlri, unreach.family, params));
            }
        }
        _ => match value(attribute, params) {
            Some(value) => lines.push(format!("{head} = {value}")),
            None => lines.push(head),
        },
    }
    lines
}

/// What one attribute says by itself, if it can be decoded.
fn value(attribute: &RawAttribute<'_>, params: &SessionParams) -> Option<String> {
    fn texts<T: ToString>(values: &[T]) -> Option<String> {
        let shown: Vec<String> = values.iter().take(PREFIXES_SHOWN).map(ToString::to_string).collect();
        (!shown.is_empty()).then(|| shown.join(" "))
    }
    let report = decode_attributes(attribute.tlv, params, MandatoryNeeds::default());
    let PathAttributes { origin, as_path, next_hop, med, local_pref, originator_id, .. } = &report.attributes;
    match attribute.code {
        AttributeCode::ORIGIN => origin.map(|origin| origin.to_string()),
        AttributeCode::AS_PATH => as_path.as_ref().map(|path| format!("\"{path}\"")),
        AttributeCode::NEXT_HOP => next_hop.map(|next_hop| next_hop.to_string()),
        AttributeCode::MED => med.map(|med| med.to_string()),
        AttributeCode::LOCAL_PREF => local_pref.map(|local_pref| local_pref.to_string()),
        AttributeCode::ORIGINATOR_ID => originator_id.map(|id| id.to_string()),
        AttributeCode::COMMUNITIES => texts(&report.attributes.communities),
        AttributeCode::EXTENDED_COMMUNITIES => texts(&report.attributes.extended_communities),
        AttributeCode::LARGE_COMMUNITIES => texts(&report.attributes.large_communities),
        AttributeCode::CLUSTER_LIST => texts(&report.attributes.cluster_list),
        _ => None,
    }
}

fn set_flags(flags: AttributeFlags) -> String {
    let names = [
        (AttributeFlags::OPTIONAL, "optional"),
        (AttributeFlags::TRANSITIVE, "transitive"),
        (AttributeFlags::PARTIAL, "partial"),
        (AttributeFlags::EXTENDED_LENGTH, "extended length"),
    ];
    let set: Vec<&str> =
        names.iter().filter(|(flag, _)| flags.0 & flag.0 != 0).map(|(_, name)| *name).collect();
    if set.is_empty() { "none".to_owned() } else { set.join(", ") }
}

fn shown(octets: &[u8]) -> String {
    let more = if octets.len() > VALUE_SHOWN { "…" } else { "" };
    format!("{}{more}", hex(&octets[..octets.len().min(VALUE_SHOWN)]))
}

/// Nothing for an empty field.
fn prefixes(what: &str, nlri: &[u8], family: AfiSafi, params: &SessionParams) -> Option<String> {
    if nlri.is_empty() {
        return None;
    }
    let mut shown = Vec::new();
    let mut more = 0;
    for nlri in NlriIter::new(nlri, family, params.add_path_rx(family)) {
        match nlri {
            Ok(_) if shown.len() >= PREFIXES_SHOWN => more += 1,
            Ok(nlri) => {
                let mut key = [0; bgp_proto::MAX_PREFIX_WIRE_LEN];
                let length = nlri.canonical(&mut key);
                let prefix = bgp_proto::decode_prefix(family, &key[..length]);
                shown.extend(prefix.map(|prefix| prefix.to_string()));
            }
            Err(error) => {
                shown.push(format!("then {error}"));
                break;
            }
        }
    }
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(format!("{what} {}{more}", shown.join(", ")))
}
