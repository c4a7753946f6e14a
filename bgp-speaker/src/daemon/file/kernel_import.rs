//! `[kernel_import]`.

use super::filters::from_text;
use super::reader::Section;
use super::values;
use crate::config::filter::{NamePattern, PRIORITY_MAX, PrefixRange, PrefixSet};
use crate::config::{KernelImport, NetworkImport, NormalPriorities};
use std::sync::Arc;

/// What is taken from the kernel. Which prefixes has to be said: else the host's default route would be announced.
pub(super) fn read(mut section: Section<'_>) -> KernelImport {
    let ranges = section.list("prefixes", from_text::<PrefixRange>);
    if ranges.is_none() {
        section.report("prefixes", "is missing; name the prefixes to take, such as [\"10.244.0.0/16+\"]");
    }
    let ranges = ranges.into_iter().flatten().map(|(_, range)| range);
    let takes_networks = section.read("networks", values::boolean).unwrap_or(false);
    let ignored = section.list("ignored_interfaces", from_text::<NamePattern>);
    if ignored.is_some() && !takes_networks {
        section
            .report("ignored_interfaces", "is about networks of interfaces; take them with networks = true");
    }
    let ignored_interfaces = ignored.into_iter().flatten().map(|(_, name)| name).collect();
    let normal = section.read("normal_priority", values::integer(1..=PRIORITY_MAX - 1));
    section.finish();
    KernelImport {
        prefixes: Some(Arc::new(PrefixSet::new(ranges))),
        networks: takes_networks.then_some(NetworkImport { ignored_interfaces }),
        priorities: normal.map(|normal| NormalPriorities { ipv4: normal, ipv6: normal }),
    }
}
