//! IPPool: where pods' addresses come from, and how they are reached.

use super::super::value::Cidr;
use super::spec;
use crate::cluster::field::{Field, Findings};
use crate::config::{Encapsulation, EncapsulationMode};
use ipnet::IpNet;
use serde::Deserialize;

/// One IPPool. Whether it is disabled says nothing about its routes: they are handled all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpPool {
    /// Host bits are cleared.
    pub cidr: IpNet,
    /// How its blocks on other nodes are reached.
    pub encapsulation: Encapsulation,
    /// Which of them are reached so.
    pub mode: EncapsulationMode,
    /// Nothing inside is announced.
    pub is_export_disabled: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    cidr: Field<Cidr>,
    ipip_mode: Field<Mode>,
    vxlan_mode: Field<Mode>,
    #[serde(rename = "disableBGPExport")]
    disable_bgp_export: Field<bool>,
}

#[derive(Clone, Copy, Deserialize)]
enum Mode {
    Always,
    CrossSubnet,
    Never,
}

impl Mode {
    fn when(self) -> Option<EncapsulationMode> {
        match self {
            Mode::Always => Some(EncapsulationMode::Always),
            Mode::CrossSubnet => Some(EncapsulationMode::CrossSubnet),
            Mode::Never => None,
        }
    }
}

impl IpPool {
    pub(in crate::cluster::calico) fn read(json: &[u8], findings: &mut Findings) -> Result<Self, String> {
        let spec: Spec = spec(json)?;
        let cidr = match spec.cidr {
            Field::Good(cidr) => cidr.0,
            Field::Bad(why) => return Err(format!("spec.cidr: {why}")),
            Field::Absent => return Err("spec.cidr: is required".to_owned()),
        };
        let mut mode = |path, field| findings.take(path, field).and_then(Mode::when);
        let (ipip, vxlan) = (mode("spec.ipipMode", spec.ipip_mode), mode("spec.vxlanMode", spec.vxlan_mode));
        let (encapsulation, mode) = match (vxlan, ipip) {
            (Some(mode), _) => (Encapsulation::Vxlan, mode),
            (None, Some(mode)) if cidr.addr().is_ipv4() => (Encapsulation::Ipip, mode),
            (None, other) => {
                if other.is_some() {
                    findings.note("spec.ipipMode: is for IPv4 only, and is ignored");
                }
                (Encapsulation::None, EncapsulationMode::Always)
            }
        };
        let disabled = findings.take("spec.disableBGPExport", spec.disable_bgp_export);
        Ok(Self { cidr, encapsulation, mode, is_export_disabled: disabled.unwrap_or(false) })
    }
}
