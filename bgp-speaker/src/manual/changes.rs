//! # What a change costs
//!
//! A running speaker is changed by steps from one configuration to the next. Each field of a session is of one class, and
//! the strongest class of all fields that changed decides:
//!
//! - **hitless**: nothing that the neighbour could see.
//! - **refresh**: routes are asked for, or sent, again; the session stays.
//! - **reset**: the session is closed and set up anew. With graceful restart both sides keep their routes meanwhile; a
//!   neighbour without RFC 8538, which would drop them after a NOTIFICATION, sees the connection just close.
//!
//! Sessions that a change does not concern see not one message of it. `bgp-speaker plan` prints the steps beforehand.
//!
//! | field | class | |
//! |---|---|---|
//! | `remote_as` | reset | neighbour's AS |
//! | `local_as` | reset | our AS on the session |
//! | `role` | reset | client or peer |
//! | `families` | reset | what is exchanged |
//! | `hold_time` | reset | negotiated in the OPEN |
//! | `password` | reset | TCP MD5 |
//! | `ttl_security` | reset | GTSM |
//! | `next_hop` | refresh | routes are told again |
//! | `keepalive` | reset | settled with the hold time |
//! | `restart_time` | reset | told in the OPEN |
//! | `allow_own_as` | reset | what was refused is to come again |
//! | `max_prefixes` | hitless | counted from then on |
//! | `add_paths` | reset | told in the OPEN |
//! | `add_paths_max` | reset | how many paths of a prefix are told |
//! | `import` | refresh | routes are asked for again |
//! | `export` | refresh | what differs is told |
//! | `name` | hitless | for logs and tables |
//! | `port` | reset | where the neighbour listens |
//! | `local_address` | reset | our end of the connection |
//! | `passive` | hitless | who connects the next time |
//! | `enabled` | reset | down on purpose: routes go |
//! | `max_sessions` | hitless | of a listen range |
//! | `router_id` | reset | told in the OPEN |
//! | `cluster_id` | reset | in every reflected route |
//! | `graceful_restart` | reset | told in the OPEN; without it a reset costs routes |
//! | `local_addresses` | reset | next hops that are ourselves |
