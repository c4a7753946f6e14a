//! Rules by destination for the kernel, from the file and from the datastore.

use super::desired::node_name;
use super::file::FileConfig;
use crate::config::{Encapsulation, EncapsulationMode, FibRules, SpeakerConfig, Step};
use crate::fib::{self, EncapsulationWhen, FibPool};
use crate::view::{PlanView, PlannedFib};
use ipnet::IpNet;

/// What the kernel's side is started with: the pools of the file, then those of the datastore.
pub(crate) fn kernel_pools(of_file: &[FibPool], rules: &FibRules) -> Vec<FibPool> {
    let subnet = rules.own_subnet.map(IpNet::V4);
    let pools = rules.pools.iter().map(|(prefix, rule)| FibPool {
        program: rule.program,
        encapsulation: match rule.encapsulation {
            Encapsulation::Ipip => fib::Encapsulation::Ipip,
            Encapsulation::None => fib::Encapsulation::None,
            Encapsulation::Vxlan => fib::Encapsulation::Vxlan,
        },
        when: match rule.when {
            EncapsulationMode::Always => EncapsulationWhen::Always,
            EncapsulationMode::CrossSubnet => EncapsulationWhen::CrossSubnet,
        },
        subnet,
        ..FibPool::new(*prefix)
    });
    let rejected = rules.rejected.iter().map(|range| FibPool { program: false, ..FibPool::new(*range) });
    let mut all = of_file.to_vec();
    for pool in pools.chain(rejected) {
        if !all.iter().any(|known| known.prefix == pool.prefix) {
            all.push(pool);
        }
    }
    all
}

/// The plan for a speaker that `file` and the datastore make, which `steps` lead to.
pub(crate) fn plan_view(file: &FileConfig, speaker: &SpeakerConfig, steps: Vec<Step>) -> PlanView {
    let mut plan = PlanView::new(&node_name(file), speaker, file.fib.is_some(), steps);
    let of_file = file.fib.iter().flat_map(|fib| &fib.pools);
    plan.fib.extend(of_file.map(|pool| PlannedFib {
        pool: pool.prefix,
        program: pool.program,
        encapsulation: match pool.encapsulation {
            fib::Encapsulation::Ipip => Encapsulation::Ipip,
            fib::Encapsulation::None => Encapsulation::None,
            fib::Encapsulation::Vxlan => Encapsulation::Vxlan,
        },
        when: match pool.when {
            EncapsulationWhen::Always => EncapsulationMode::Always,
            EncapsulationWhen::CrossSubnet => EncapsulationMode::CrossSubnet,
        },
    }));
    plan
}
