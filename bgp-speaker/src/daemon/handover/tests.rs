use super::*;
use crate::config::filter::Then;
use crate::config::{ListenRange, PolicyRef, Secret, StepAction, diff};
use bgp_proto::Asn;

const LIMIT: Duration = Duration::from_secs(30);
const UP: SeenSession = SeenSession { is_up: true, is_kept: false, has_told_all: true };
const SILENT: SeenSession = SeenSession { is_up: true, is_kept: false, has_told_all: false };
const KEPT: SeenSession = SeenSession { is_up: false, is_kept: true, has_told_all: false };
const DOWN: SeenSession = SeenSession { is_up: false, is_kept: false, has_told_all: false };

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn address(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

fn id(last: u8) -> NeighborId {
    address(last).into()
}

/// A speaker with iBGP neighbours at these addresses.
fn with(neighbors: &[u8]) -> SpeakerConfig {
    let mut config = SpeakerConfig::new("10.0.0.1".parse().unwrap());
    for last in neighbors {
        config.neighbors.insert(id(*last), Neighbor::ibgp(address(*last)));
    }
    config
}

/// A reflector with clients at these addresses.
fn reflector(clients: &[u8]) -> SpeakerConfig {
    let mut config = with(&[]);
    config.cluster_id = Some(config.router_id);
    for last in clients {
        config.neighbors.insert(id(*last), Neighbor::client(address(*last)));
    }
    config
}

fn addresses(lasts: &[u8]) -> BTreeSet<IpAddr> {
    lasts.iter().map(|last| address(*last)).collect()
}

/// All of these nodes are members of the cluster, before and after.
fn begun(old: &SpeakerConfig, new: &SpeakerConfig, members: &[u8]) -> Handover {
    let mut handover = Handover::default();
    let members = addresses(members);
    handover.begin(&Change { old, new, members_before: &members, members: &members }, LIMIT, secs(0));
    handover
}

fn seen(sessions: &[(u8, SeenSession)], sole_routes: usize) -> Seen {
    Seen { sessions: sessions.iter().map(|(last, session)| (id(*last), *session)).collect(), sole_routes }
}

/// Who stays, by the last octet.
fn held(handover: &Handover) -> Vec<u8> {
    let all = handover.leaving.keys().chain(handover.clients.keys());
    all.map(|id| if let IpAddr::V4(v4) = id.address { v4.octets()[3] } else { 0 }).collect()
}

fn steps(old: &SpeakerConfig, new: &SpeakerConfig) -> Vec<(StepAction, String)> {
    diff(old, new).into_iter().map(|step| (step.action, step.target)).collect()
}

#[test]
fn the_old_neighbours_stay_until_the_new_ones_have_told_all() {
    let (old, new) = (with(&[2, 3]), with(&[8, 9]));
    assert!(Handover::default().is_concerned(&old, &new));
    let mut handover = begun(&old, &new, &[]);
    let both = handover.applied_to(new.clone());
    assert_eq!(both.problems(), []);
    let actions: Vec<StepAction> = steps(&old, &both).into_iter().map(|(action, _)| action).collect();
    use StepAction::{AddSession, HoldSession, RemoveSession};
    assert_eq!(actions, [HoldSession, HoldSession, AddSession, AddSession]);

    let mut look = |at, arriving| {
        let sessions = [(2, UP), (3, UP), (8, UP), (9, arriving)];
        let ended = handover.advance(&seen(&sessions, 0), LIMIT, secs(at));
        (ended.len(), handover.waits_for.clone())
    };
    assert_eq!(look(1, DOWN), (0, vec!["a session with 10.0.0.9".to_owned()]));
    assert_eq!(look(2, SILENT), (0, vec!["all routes of 10.0.0.9".to_owned()]));
    assert_eq!(look(3, UP).0, 0, "the neighbours may not be that far yet");
    assert_eq!(look(4, DOWN).0, 0);
    assert_eq!(look(5, UP).0, 0, "that begins anew");
    assert_eq!(look(7, UP).0, 2);
    assert!(handover.is_empty());
    assert_eq!(handover.applied_to(new.clone()), new);
    assert!(steps(&both, &new).iter().all(|(action, _)| *action == RemoveSession));
}

#[test]
fn who_never_comes_is_not_waited_for_longer_than_the_limit() {
    let mut handover = begun(&with(&[2]), &with(&[9]), &[]);
    let sessions = seen(&[(2, UP), (9, DOWN)], 0);
    assert_eq!(handover.advance(&sessions, LIMIT, secs(29)), []);
    let view = handover.view(&with(&[9]), LIMIT, secs(29)).unwrap();
    assert_eq!((view.at_most_secs, view.waits_for), (1, vec!["a session with 10.0.0.9".to_owned()]));
    assert_eq!((&*view.sessions[0].neighbor, &*view.sessions[0].role), ("10.0.0.2", "leaving"));
    assert_eq!(handover.advance(&sessions, LIMIT, secs(30)), [(id(2), End::TimeOver)]);
    assert!(handover.is_empty() && handover.view(&with(&[9]), LIMIT, secs(30)).is_none());
}

#[test]
fn who_is_down_goes_at_once_unless_its_routes_are_kept() {
    let mut handover = begun(&with(&[2, 3, 4]), &with(&[9]), &[]);
    let sessions = seen(&[(2, UP), (3, DOWN), (4, KEPT)], 0);
    assert_eq!(handover.advance(&sessions, LIMIT, secs(0)), [(id(3), End::Gone)]);
    assert_eq!(held(&handover), [2, 4]);
}

#[test]
fn a_removal_alone_takes_effect_at_once() {
    assert!(begun(&with(&[2, 3]), &with(&[3]), &[]).is_empty(), "what a file lists");
    assert!(begun(&with(&[2, 3]), &with(&[]), &[2, 3]).is_empty(), "nobody could take over");
    assert!(!Handover::default().is_concerned(&with(&[2]), &with(&[2, 3])));
}

#[test]
fn a_member_stays_until_others_tell_its_routes() {
    // The mesh ends, and nodes that were in it are reflectors from now on.
    let mut handover = begun(&with(&[2, 3, 4]), &with(&[3]), &[2, 3, 4]);
    assert_eq!(held(&handover), [2, 4]);
    assert_eq!(handover.to_be_covered(), [id(2), id(4)]);
    let sessions = [(2, UP), (3, UP), (4, UP)];
    assert_eq!(handover.advance(&seen(&sessions, 2), LIMIT, secs(3)), []);
    assert_eq!(handover.waits_for, ["others to tell 2 routes"]);
    assert_eq!(handover.advance(&seen(&sessions, 0), LIMIT, secs(4)), []);
    assert_eq!(handover.advance(&seen(&sessions, 0), LIMIT, secs(6)).len(), 2);
}

#[test]
fn who_has_left_the_cluster_or_is_disabled_does_not_stay() {
    let (old, new) = (with(&[2, 3, 4]), with(&[9]));
    let mut handover = Handover::default();
    let (before, after) = (addresses(&[2, 3, 4]), addresses(&[2, 3]));
    let mut old = old;
    old.neighbors.get_mut(&id(3)).unwrap().enabled = false;
    let change = Change { old: &old, new: &new, members_before: &before, members: &after };
    handover.begin(&change, LIMIT, secs(0));
    assert_eq!(held(&handover), [2]);
    // It leaves the cluster after that.
    let nobody = addresses(&[]);
    let change = Change { old: &new, new: &new, members_before: &after, members: &nobody };
    handover.begin(&change, LIMIT, secs(1));
    assert!(handover.is_empty());
    let mut handover = begun(&old, &new, &[]);
    assert!(handover.drop_all(|one| one == id(2)) && !handover.drop_all(|one| one == id(2)));
    assert_eq!(held(&handover), [4]);
}

#[test]
fn whose_address_or_as_is_used_otherwise_does_not_stay() {
    let old = with(&[2]);
    let stays = |change: &dyn Fn(&mut SpeakerConfig)| {
        let mut new = with(&[9]);
        change(&mut new);
        !begun(&old, &new, &[]).is_empty()
    };
    assert!(stays(&|_| ()));
    assert!(!stays(&|new| {
        let other = Neighbor::ibgp(address(2)).port(1790);
        new.neighbors.insert(other.id(), other);
    }));
    assert!(!stays(&|new| new.listen_ranges.push(ListenRange::new("10.0.0.0/29".parse().unwrap()))));
    assert!(!stays(&|new| new.listen.push((address(2), 179).into())));
    assert!(!stays(&|new| new.local_addresses.push(address(2))));
    assert!(!stays(&|new| new.asn = Asn(65001)));
}

#[test]
fn without_a_time_nobody_stays() {
    let (old, new) = (with(&[2]), with(&[9]));
    let mut handover = begun(&old, &new, &[]);
    let nobody = BTreeSet::new();
    let change = Change { old: &old, new: &new, members_before: &nobody, members: &nobody };
    handover.begin(&change, Duration::ZERO, secs(0));
    assert!(handover.is_empty());
}

#[test]
fn a_change_meanwhile_keeps_what_still_holds() {
    let (first, second) = (with(&[2, 3]), with(&[8]));
    let mut handover = begun(&first, &second, &[]);
    let nobody = BTreeSet::new();
    let begin = |handover: &mut Handover, old: &SpeakerConfig, new: &SpeakerConfig, at| {
        let change = Change { old, new, members_before: &nobody, members: &nobody };
        handover.begin(&change, LIMIT, secs(at));
    };
    // One of them is wanted again, and another one replaced.
    let third = with(&[3, 9]);
    begin(&mut handover, &second, &third, 10);
    assert_eq!(held(&handover), [2, 8]);
    assert_eq!(handover.arriving, [id(3), id(9)].into());
    assert_eq!(handover.applied_to(third).leaving, [id(2), id(8)].into());
    let sessions = seen(&[(2, UP), (8, UP)], 0);
    assert_eq!(handover.advance(&sessions, LIMIT, secs(30)), [(id(2), End::TimeOver)], "each has its time");
    assert_eq!(handover.advance(&sessions, LIMIT, secs(40)), [(id(8), End::TimeOver)]);
}

#[test]
fn kept_neighbours_are_changed_at_once() {
    let mut old = with(&[2, 3]);
    let filter = |default| Arc::new(Filter { rules: Vec::new(), default });
    old.filters.insert("shared".into(), filter(Then::Accept));
    old.filters.insert("own".into(), filter(Then::Accept));
    let options = &mut old.neighbors.get_mut(&id(2)).unwrap().options;
    options.import = PolicyRef::Filters(vec!["shared".into(), "own".into()]);
    let mut new = with(&[3, 9]);
    new.filters.insert("shared".into(), filter(Then::Reject));
    new.neighbors.get_mut(&id(3)).unwrap().options.password = Some(Secret::new("swordfish"));
    let both = begun(&old, &new, &[]).applied_to(new.clone());
    assert_eq!(both.problems(), []);
    assert_eq!(both.neighbors[&id(3)], new.neighbors[&id(3)]);
    assert_eq!(both.filters["shared"], new.filters["shared"], "what is forbidden now is so for all");
    assert_eq!(both.filters["own"], old.filters["own"]);
}

#[test]
fn a_route_to_a_neighbour_stays_as_long_as_it() {
    let mut old = with(&[2]);
    old.fib_rules.host_routes.insert(address(2).into(), address(77));
    let (new, both) = (with(&[9]), begun(&old, &with(&[9]), &[]).applied_to(with(&[9])));
    assert_eq!(both.fib_rules.host_routes, old.fib_rules.host_routes);
    assert!(new.fib_rules.host_routes.is_empty());
}

#[test]
fn a_reflector_without_successor_stays_until_its_clients_have_gone() {
    let (old, new) = (reflector(&[2, 3]), with(&[]));
    let mut handover = begun(&old, &new, &[2, 3]);
    assert_eq!(held(&handover), [2, 3]);
    let both = handover.applied_to(new.clone());
    assert_eq!((both.problems(), both.cluster_id), (vec![], old.cluster_id));
    assert_eq!(handover.to_be_covered(), [], "nobody is to take over its clients");
    assert_eq!(handover.advance(&seen(&[(2, UP), (3, KEPT)], 0), LIMIT, secs(3)), []);
    assert_eq!(handover.waits_for, ["client 10.0.0.2 to leave"]);
    handover.advance(&seen(&[(2, KEPT), (3, KEPT)], 0), LIMIT, secs(4));
    assert_eq!(handover.advance(&seen(&[(2, KEPT), (3, KEPT)], 0), LIMIT, secs(6)).len(), 2);
    assert_eq!(handover.applied_to(new.clone()), new);
}

#[test]
fn clients_that_become_neighbours_are_reflected_for_a_while() {
    let (old, new) = (reflector(&[2, 3]), with(&[2, 3]));
    assert!(begun(&old, &new, &[]).is_empty(), "as a file says it");
    let mut handover = begun(&old, &new, &[2, 3]);
    assert_eq!(held(&handover), [2, 3]);
    assert_eq!(handover.applied_to(new.clone()), old, "nothing changes yet");
    assert_eq!(handover.advance(&seen(&[(2, UP), (3, UP)], 0), LIMIT, secs(29)), []);
    assert_eq!(handover.view(&new, LIMIT, secs(29)).unwrap().sessions[1].role, "client");
    assert_eq!(handover.advance(&seen(&[], 0), LIMIT, secs(30)).len(), 2);
    assert_eq!(handover.applied_to(new.clone()), new);
    assert!(begun(&new, &old, &[2, 3]).is_empty(), "a new reflector is one at once");
}
