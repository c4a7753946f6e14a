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
//! # Neighbours that take each other's place
//!
//! A change that removes neighbours and brings others, such as reflectors in place of a mesh, does not end the old sessions
//! before the new ones are there. What is removed stays (`hold-session` in the plan) until every neighbour that came with
//! the same change is established and has told all its routes (End-of-RIB), and two seconds more, in which the others get
//! there too; and for `handover_time` at most:
//!
//! ```toml
//! handover_time = 30    # seconds; 0: who is removed goes at once
//! ```
//!
//! With a datastore, which tells who is a node of the cluster, more is known, and such a node
//!
//! - stays until somebody else tells every route that it tells, also where no neighbour comes but some remain;
//! - stays, as a client of our reflection, until it has closed its session, having found others itself;
//! - stays a client, where it is to be an ordinary neighbour from now on, for the whole `handover_time`: it may need what
//!   is reflected until it has found the others, and nobody can tell.
//!
//! While it stays, nobody connects to it any more. Where it removes us first, its routes stay like those of a neighbour that
//! restarts (RFC 4724), since the other side makes the same change.
//!
//! At once go: neighbours that a change only removes; those that are down, disabled, or have left the cluster; those whose
//! address is somebody else's now; those whose session would be between other ASes. All that changes of neighbours that
//! remain, passwords and filters among it, is in force at once, and so are changes of filters that those who leave use.
//!
//! `status` and `plan` say who stays, for how long at most and what is waited for, and the log says what came of it.
//!
//! # Classes
//!
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
