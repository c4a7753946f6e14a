//! Every mistake is told, with its place.

use super::*;

#[test]
fn what_is_wrong_with_a_pool_is_told_at_its_key() {
    let text = "[fib]\n[[fib.pools]]\nprefix = \"10.1.0.0/16\"\nencapsulation = \"vxlna\"\n\
                [[fib.pools]]\nprefix = \"10.1.0.0/16\"\ndevice = \"a name too long for a device\"\n\
                [[fib.pools]]\nprogramm = false\n";
    assert_eq!(
        problems(text),
        [
            "bgp.toml:4:17: fib.pools[0].encapsulation: \"vxlna\" is unknown; did you mean \"vxlan\"?",
            "bgp.toml:6:10: fib.pools[1].prefix: 10.1.0.0/16 is a pool already",
            "bgp.toml:7:10: fib.pools[1].device: \"a name too long for a device\" cannot be the name of a \
             network interface",
            "bgp.toml:8:1: fib.pools[2].prefix: is missing",
            "bgp.toml:9:1: fib.pools[2].programm: unknown key; did you mean \"program\"?",
        ]
    );
}

#[test]
fn what_is_taken_from_the_kernel_has_to_be_said() {
    assert_eq!(
        problems("[kernel_import]\nignored_interfaces = [\"a/b\"]\nnormal_priority = 0\n"),
        [
            "bgp.toml:1:1: kernel_import.prefixes: is missing; name the prefixes to take, such as \
             [\"10.244.0.0/16+\"]",
            "bgp.toml:2:22: kernel_import.ignored_interfaces: is about networks of interfaces; take them with \
             networks = true",
            "bgp.toml:2:23: kernel_import.ignored_interfaces[0]: \"a/b\" is not the name of an interface, or a \
             pattern such as \"cali*\", of at most 15 characters",
            "bgp.toml:3:19: kernel_import.normal_priority: 0 is out of range; use 1 to 2147483646",
        ]
    );
}

#[test]
fn all_mistakes_of_a_file_are_reported_at_once_and_in_order() {
    let text = r#"ans = 64513
hold_time = "long"
listen = ["10.0.0.1", "0.0.0.0:70000", "0.0.0.0:179", "0.0.0.0:179"]
router_id = "10.0.0"

[[neighbors]]
address = "10.0.0.2"
remot_as = 64512

[[neighbors]]
address = "10.0.0.2"
port = 0
role = "clinet"
colour = "red"

[[neighbors]]
remote_as = 0
families = ["ipv4", "ipv6-unicast", "ipv6-unicast"]
password_file = "/nonexistent/secret"

[announce]
blocks = ["192.168.1.1/26", "192.168.1.0/26", "10.0.0.1"]
routes = [{ prefix = "192.168.1.0/26" }, { med = -1 }]

[fib]
table = "mian"
protocol = 2
"#;
    assert_eq!(
        problems(text),
        [
            "bgp.toml:1:1: ans: unknown key; did you mean \"asn\"?",
            "bgp.toml:2:13: hold_time: expected a number, found a string",
            "bgp.toml:3:11: listen[0]: \"10.0.0.1\" has no port; write \"10.0.0.1:179\"",
            "bgp.toml:3:23: listen[1]: \"0.0.0.0:70000\" is not an address with a port such as \"0.0.0.0:179\" or \
             \"[::]:179\"",
            "bgp.toml:3:55: listen[3]: 0.0.0.0:179 is listed twice",
            "bgp.toml:4:13: router_id: \"10.0.0\" is not an identifier such as \"10.0.0.1\"",
            "bgp.toml:8:1: neighbors[0].remot_as: unknown key; did you mean \"remote_as\"?",
            "bgp.toml:11:11: neighbors[1].address: 10.0.0.2:179 is already neighbors[0] (line 6)",
            "bgp.toml:12:8: neighbors[1].port: 0 is out of range; use 1 to 65535",
            "bgp.toml:13:8: neighbors[1].role: \"clinet\" is unknown; did you mean \"client\"?",
            "bgp.toml:14:1: neighbors[1].colour: unknown key; known keys here: address, name, port, local_address, \
             passive, enabled, password_file, remote_as, local_as, role, families, hold_time, ttl_security, \
             next_hop, keepalive, restart_time, allow_own_as, max_prefixes, add_paths, \
             add_paths_max, import, export",
            "bgp.toml:16:1: neighbors[2].address: is missing",
            "bgp.toml:18:13: neighbors[2].families[0]: \"ipv4\" is unknown; use \"ipv4-unicast\" or \"ipv6-unicast\"",
            "bgp.toml:18:37: neighbors[2].families[2]: ipv6-unicast is listed twice",
            "bgp.toml:19:17: neighbors[2].password_file: cannot read /nonexistent/secret: No such file or directory",
            "bgp.toml:22:11: announce.blocks[0]: 192.168.1.1/26 has bits set beyond its length; did you mean \
             \"192.168.1.0/26\"?",
            "bgp.toml:22:47: announce.blocks[2]: \"10.0.0.1\" has no length; write \"10.0.0.1/32\" for this one \
             address",
            "bgp.toml:23:22: announce.routes[0].prefix: 192.168.1.0/26 is already announce.blocks[1] (line 22)",
            "bgp.toml:23:42: announce.routes[1].prefix: is missing",
            "bgp.toml:23:50: announce.routes[1].med: -1 is out of range; use 0 to 4294967295",
            "bgp.toml:26:9: fib.table: \"mian\" is unknown; did you mean \"main\"?",
            "bgp.toml:27:12: fib.protocol: 2 is out of range; use 5 to 255",
        ]
    );
}

#[test]
fn mistakes_that_only_the_whole_shows_have_a_place_too() {
    let text = r#"
asn = 64512
hold_time = 2
listen = ["10.0.0.1:179"]
[reflector]
cluster_id = "0.0.0.0"
[[neighbors]]
address = "10.0.0.1"
[[neighbors]]
address = "fd00::2"
remote_as = 65001
role = "client"
hold_time = 1
[[neighbors]]
address = "10.0.0.20"
families = []
[[listen_ranges]]
prefix = "10.0.0.0/8"
import = "customers"
[[listen_ranges]]
prefix = "10.0.0.0/8"
"#;
    assert_eq!(
        problems(text),
        [
            "bgp.toml:3:13: hold_time: 2 s is not allowed; use 0 (no hold timer) or at least 3",
            "bgp.toml:6:14: reflector.cluster_id: 0.0.0.0 is not a cluster; use the router id of one of its \
             reflectors",
            "bgp.toml:7:1: neighbors[0]: this is our own listen address",
            "bgp.toml:12:8: neighbors[1].role: \"client\" is for neighbours of our own AS only",
            "bgp.toml:13:13: neighbors[1].hold_time: 1 s is not allowed; use 0 (no hold timer) or at least 3",
            "bgp.toml:16:12: neighbors[2].families: name at least one of \"ipv4-unicast\", \"ipv6-unicast\"",
            "bgp.toml:19:10: listen_ranges[0].import: there is no filter \"customers\"; define [filters.customers], or \
             use \"accept\" or \"reject\"",
            "bgp.toml:21:10: listen_ranges[1].prefix: 10.0.0.0/8 is already listen_ranges[0] (line 17)",
        ]
    );
}

#[test]
fn all_mistakes_of_filters_are_reported_at_once() {
    let text = r#"
[prefix_sets]
pods = ["10.244.0.1/16", "10.244.0.0/16{8,12}", 7]
"two words" = []
nodes = "10.0.0.0/8"
[filters.accept]
[filters.customers]
defualt = "reject"
[[filters.customers.rules]]
match = { prefixes = [], prefix_set = "pod", session = "iBGP", local_pref = [2, 1], med = [1], priority = 5 }
set = { med = "no", next_hop = "me", add_communities = ["65000"], local_pref = 1, priority = 1, colour = 1 }
[[filters.customers.rules]]
then = "reject"
set = { prepend = [65001] }
[[filters.customers.rules]]
then = "accept"
set = { next_hop = "self", prepend = [] }
[[neighbors]]
address = "10.0.0.2"
import = "customer"
export = []
[[neighbors]]
address = "10.0.0.3"
import = ["customers", "peers"]
[[neighbors]]
address = "10.0.0.4"
import = "customers"
"#;
    assert_eq!(
        problems(text),
        [
            "bgp.toml:3:9: prefix_sets.pods[0]: 10.244.0.1/16 has bits set beyond its length; did you mean \
             \"10.244.0.0/16\"?",
            "bgp.toml:3:26: prefix_sets.pods[1]: no prefix is inside 10.244.0.0/16 and has 8 to 12 bits",
            "bgp.toml:3:49: prefix_sets.pods[2]: expected a string, found a number",
            "bgp.toml:4:1: prefix_sets.two words: a name is made of letters, digits, \"-\", \"_\" and \".\"",
            "bgp.toml:5:1: prefix_sets.nodes: expected an array, found a string",
            "bgp.toml:6:10: filters.accept: is a policy of its own; choose another name",
            "bgp.toml:8:1: filters.customers.defualt: unknown key; did you mean \"default\"?",
            "bgp.toml:9:1: filters.customers.rules[0].then: is missing",
            "bgp.toml:10:11: filters.customers.rules[0].match.prefixes: unknown key; did you mean \"prefix\"?",
            "bgp.toml:10:39: filters.customers.rules[0].match.prefix_set: there is no prefix set \"pod\"; did you mean \
             \"pods\"?",
            "bgp.toml:10:56: filters.customers.rules[0].match.session: \"iBGP\" is unknown; did you mean \"ibgp\"?",
            "bgp.toml:10:77: filters.customers.rules[0].match.local_pref: 2 is greater than 1; write [1, 2]",
            "bgp.toml:10:91: filters.customers.rules[0].match.med: expected a number, or two of them: [FROM, TO]",
            "bgp.toml:11:15: filters.customers.rules[0].set.med: \"no\" is not a number, nor \"none\" for no MED",
            "bgp.toml:11:32: filters.customers.rules[0].set.next_hop: \"me\" is not an address such as \"10.0.0.1\" or \
             \"fd00::1\"; or use \"self\" or \"unchanged\"",
            "bgp.toml:11:57: filters.customers.rules[0].set.add_communities[0]: \"65000\" is not a community such as \
             \"65000:100\", \"no-export\", \"64496:1:2\" or \"rt:65000:100\"",
            "bgp.toml:11:94: filters.customers.rules[0].set.priority: is another way to write local_pref; give one of \
             them",
            "bgp.toml:11:97: filters.customers.rules[0].set.colour: unknown key; known keys here: communities, \
             delete_communities, add_communities, local_pref, priority, med, prepend, next_hop",
            "bgp.toml:12:1: filters.customers.rules[1]: a rejected route cannot be changed; accept it, or change \
             nothing",
            "bgp.toml:15:1: filters.customers.rules[2]: there is no AS to prepend; name at least one",
            "bgp.toml:20:10: neighbors[0].import: there is no filter \"customer\"; did you mean \"customers\"?",
            "bgp.toml:21:10: neighbors[0].export: names no filter; use \"accept\" to let everything pass",
            "bgp.toml:24:10: neighbors[1].import: there is no filter \"peers\"; define [filters.peers], or use \
             \"accept\" or \"reject\"",
            "bgp.toml:27:10: neighbors[2].import: filter \"customers\" sets a next hop of \"self\" or \"unchanged\", \
             which only \"export\" can do",
        ]
    );
}

#[test]
fn the_kernels_own_table_is_refused() {
    let local = "table local (255) belongs to the kernel; use \"main\" or the number of another";
    for table in ["\"local\"", "255"] {
        let expected = format!("bgp.toml:2:9: fib.table: {local}");
        assert_eq!(problems(&format!("[fib]\ntable = {table}\n")), [expected]);
    }
    assert_eq!(parse("[fib]\ntable = \"default\"\n").unwrap().fib.unwrap().table, 253);
}

#[test]
fn a_key_that_has_lost_its_section_is_sent_there() {
    assert_eq!(
        problems("router_id = \"10.0.0.1\"\ncluster_id = \"10.0.0.1\"\n[fib]\ncluster_id = 1\n"),
        [
            "bgp.toml:2:1: cluster_id: unknown key here; it belongs into the section [reflector]",
            "bgp.toml:4:1: fib.cluster_id: unknown key; known keys here: table, protocol, metric, next_hops_max, \
             pools",
        ]
    );
}

#[test]
fn an_unreadable_asn_does_not_put_neighbours_into_another_as() {
    let text =
        "asn = true\n[reflector]\n[[neighbors]]\naddress = \"10.0.0.2\"\nremote_as = 5\nrole = \"client\"\n";
    assert_eq!(problems(text), ["bgp.toml:1:7: asn: expected a number, found true or false"]);
}

#[test]
fn addresses_that_no_neighbour_can_have_are_refused() {
    for (address, expected) in [
        ("0.0.0.0", "0.0.0.0 stands for any address; name a specific one"),
        ("224.0.0.1", "224.0.0.1 is a multicast address; name the address of one host"),
        ("255.255.255.255", "255.255.255.255 is the broadcast address; name the address of one host"),
        ("fe80::1", "fe80::1 is a link-local address; name a global or unique local one"),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.1 is an IPv4 address in IPv6 notation; write it as IPv4"),
        ("node-b", "\"node-b\" is not an address such as \"10.0.0.1\" or \"fd00::1\""),
    ] {
        let text = format!("neighbors = [{{ address = \"{address}\" }}]");
        assert_eq!(problems(&text), [format!("bgp.toml:1:26: neighbors[0].address: {expected}")]);
    }
}

#[test]
fn syntax_errors_have_their_place() {
    assert_eq!(
        problems("asn = 64512\nhold_time = = 90\nlisten = [\"a\"\n"),
        ["bgp.toml:2:13: extra `=`, expected nothing", "bgp.toml:3:14: unclosed array, expected `]`"]
    );
    assert_eq!(
        problems("asn = 1\nasn = 2\nhold_time = true\n"),
        ["bgp.toml:2:1: duplicate key", "bgp.toml:3:13: hold_time: expected a number, found true or false"]
    );
    assert_eq!(
        problems("neighbors = 5\nfib = 3\n"),
        [
            "bgp.toml:1:13: neighbors: expected an array, found a number",
            "bgp.toml:2:7: fib: expected a table, found a number"
        ]
    );
}
