//! # Filters
//!
//! A filter decides which routes pass between a neighbour and the tables, and changes them on the way. It is defined
//! once and named by `import` and `export` of neighbours and listen ranges, alone or as one of several in order:
//!
//! ```toml
//! [prefix_sets]
//! pods = ["10.244.0.0/16+", "fd00:10:244::/48+"]
//!
//! [filters.from-rack]                        # default = "reject": what no rule decides does not pass
//! [[filters.from-rack.rules]]
//! name = "default route"
//! match = { prefix = ["0.0.0.0/0", "::/0"] }
//! set = { local_pref = 90, add_communities = ["64512:90"] }
//! then = "accept"
//!
//! [filters.to-rack]
//! default = "reject"
//! [[filters.to-rack.rules]]
//! match = { prefix_set = "pods", source = "local" }
//! set = { prepend = [64512], med = 10 }
//! then = "accept"
//!
//! [[neighbors]]
//! address = "10.0.0.254"
//! remote_as = 65001
//! import = "from-rack"
//! export = ["to-rack"]
//! ```
//!
//! **Rules** are looked at in order. One whose `match` holds altogether (an absent `match` always does) carries out its
//! `set` and then says `then`: `accept`, `reject`, or `next` to leave it to what follows, which sees the route as it is
//! by then. What no rule of a filter decides is its `default`: `reject`, unless it says `accept`, or `next` for the next
//! filter of the session. What the last filter leaves open passes. Without any filter everything passes, also to and
//! from other ASes: RFC 8212 would have it the other way round, and nodes of a cluster would not.
//!
//! | `match` | holds for a route |
//! |---|---|
//! | `family` | `"ipv4-unicast"` or `"ipv6-unicast"` |
//! | `prefix`, `not_prefix` | whose prefix is one of these, or none: `10.0.0.0/8` itself, `10.0.0.0/8+` with all inside it, `10.0.0.0/8{16,24}` those inside it with 16 to 24 bits |
//! | `prefix_set`, `not_prefix_set` | the same, with the name of a list in `[prefix_sets]` |
//! | `next_hop` | whose next hop is one of these addresses, or in one of these prefixes |
//! | `neighbor` | that was learned from a neighbour with one of these addresses, or in one of these prefixes |
//! | `session` | on an `"ibgp"` or `"ebgp"` session: the one that the filter applies to |
//! | `source` | that is `"local"`, from the `"kernel"` (`[kernel_import]`), or learned from `"peers"` |
//! | `as_path_start` | whose AS path starts with these numbers in this order |
//! | `as_path_contains`, `as_path_origin` | with one of these numbers in its AS path, or at its end |
//! | `as_path_length` | whose AS path has this length: a number, or `[FROM, TO]` |
//! | `communities` | that carries all of these; `*` stands for any number: `"65000:*"`, `"64496:*:2"`, `"rt:65000:1"` |
//! | `any_community` | that carries one of these |
//! | `interface` | from the kernel that leads out of one of these: `"cali*"` |
//! | `local_pref`, `med` | with this value, or one in `[FROM, TO]`; a route without LOCAL_PREF counts as 100, without MED as 0 |
//! | `priority` | whose LOCAL_PREF is 2147483647 less this: Calico's route priority |
//!
//! | `set` | does, in this order |
//! |---|---|
//! | `communities` | these instead of all communities of the three kinds |
//! | `delete_communities` | away with these; `*` as above |
//! | `add_communities` | these too |
//! | `local_pref`, `priority` | LOCAL_PREF, as above; never sent to another AS |
//! | `med` | MED, also towards another AS; `"none"` for none |
//! | `prepend` | these before the AS path, at most 10; our own number still comes before them |
//! | `next_hop` | this address, for routes of its family; on export also `"self"` or `"unchanged"` |
//!
//! **Changing a filter** never resets a session whose neighbour knows route refresh (RFC 2918), as all current ones do.
//! On export, neighbours are told what the new rules say differently, and nothing else. On import, neighbours are asked
//! for their routes again: what the filter does not let in is not kept. `plan` shows it: a step `filter NAME`, and
//! `refresh-session` for each session that is asked.
//!
//! **Cost.** An export filter is asked once for all sessions that would be sent the same, and once per set of attributes
//! unless it looks at prefixes or interfaces. A prefix set of any size costs a binary search per length that occurs in
//! it. `max_prefixes` counts what import filters let through.
