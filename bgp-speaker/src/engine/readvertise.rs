//! May a path that came from here be told there? RFC 4271 §9.2 and RFC 4456 §6, without any state.

use super::rib::AttrRecord;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a source or a destination of routes is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Relation {
    /// An iBGP client of our reflection.
    Client,
    /// Another AS.
    External,
    /// An iBGP peer that is no client.
    NonClient,
}

/// Why a path is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// iBGP to iBGP, and neither side is a client (RFC 4271 §9.2.1).
    IbgpToIbgp,
    /// NO_ADVERTISE (RFC 1997).
    NoAdvertise,
    /// NO_EXPORT, towards another AS (RFC 1997).
    NoExport,
    /// The export policy rejects it.
    Policy,
    /// We have no next hop of that family to give.
    NoNextHop,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::IbgpToIbgp => {
                "what one iBGP peer tells is not told another; a reflector tells its clients"
            }
            Refusal::NoAdvertise => "the community NO_ADVERTISE",
            Refusal::NoExport => "the community NO_EXPORT, towards another AS",
            Refusal::Policy => "the export policy",
            Refusal::NoNextHop => "there is no next hop of that family to give",
        })
    }
}

/// Checks the rules that do not depend on policy. `from` is `None` for what we originate.
///
/// # Errors
/// The first rule that forbids it.
pub fn may_readvertise(from: Option<Relation>, to: Relation, record: &AttrRecord) -> Result<(), Refusal> {
    if record.no_advertise {
        return Err(Refusal::NoAdvertise);
    }
    if to == Relation::External && record.no_export {
        return Err(Refusal::NoExport);
    }
    match (from, to) {
        (Some(Relation::NonClient), Relation::NonClient) => Err(Refusal::IbgpToIbgp),
        _ => Ok(()),
    }
}

/// Is what one source tells told just as if the source were the other?
pub fn is_told_alike(one: Relation, other: Relation, to: Relation) -> bool {
    let is_forbidden = |from| from == Relation::NonClient && to == Relation::NonClient;
    is_forbidden(one) == is_forbidden(other) && is_reflected(Some(one), to) == is_reflected(Some(other), to)
}

/// Does a path on this way carry ORIGINATOR_ID and CLUSTER_LIST (RFC 4456 §8)?
pub fn is_reflected(from: Option<Relation>, to: Relation) -> bool {
    let internal = |relation| matches!(relation, Relation::Client | Relation::NonClient);
    from.is_some_and(internal) && internal(to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Relation::{Client, External, NonClient};

    fn record() -> AttrRecord {
        use bgp_proto::{Asn, PathAttributes};
        let identity = crate::engine::rib::LoopIdentity { asn: Asn(1), cluster_id: None };
        AttrRecord::new(&PathAttributes::default(), &identity)
    }

    #[test]
    fn every_pair_of_source_and_destination() {
        let table = [
            (None, Client, true),
            (None, External, true),
            (None, NonClient, true),
            (Some(Client), Client, true),
            (Some(Client), External, true),
            (Some(Client), NonClient, true),
            (Some(External), Client, true),
            (Some(External), External, true),
            (Some(External), NonClient, true),
            (Some(NonClient), Client, true),
            (Some(NonClient), External, true),
            (Some(NonClient), NonClient, false),
        ];
        for (from, to, allowed) in table {
            assert_eq!(may_readvertise(from, to, &record()).is_ok(), allowed, "{from:?} -> {to:?}");
        }
    }

    #[test]
    fn only_those_who_are_no_clients_care_whether_a_source_is_one() {
        assert!(!is_told_alike(Client, NonClient, NonClient));
        assert!(is_told_alike(Client, NonClient, Client) && is_told_alike(Client, NonClient, External));
        assert!(!is_told_alike(External, Client, Client), "one is reflected");
    }

    #[test]
    fn only_what_goes_from_ibgp_to_ibgp_is_reflected() {
        assert!(is_reflected(Some(Client), NonClient) && is_reflected(Some(NonClient), Client));
        assert!(!is_reflected(None, Client) && !is_reflected(Some(External), Client));
        assert!(!is_reflected(Some(Client), External));
    }

    #[test]
    fn well_known_communities_hold_routes_back() {
        let mut no_export = record();
        no_export.no_export = true;
        assert_eq!(may_readvertise(Some(Client), External, &no_export), Err(Refusal::NoExport));
        assert_eq!(may_readvertise(Some(Client), Client, &no_export), Ok(()));
        let mut no_advertise = record();
        no_advertise.no_advertise = true;
        assert_eq!(may_readvertise(None, Client, &no_advertise), Err(Refusal::NoAdvertise));
    }
}
