//! # Routes of other programs
//!
//! What other programs put into the kernel's main table can be announced as our own: the workloads of an agent that
//! writes a route for each, static routes of the host, another daemon's routes. A node of a Calico cluster does this by
//! itself ([`calico`](super::calico)); elsewhere the file says of which prefixes:
//!
//! ```toml
//! [kernel_import]
//! prefixes = ["10.244.0.0/16+", "fd00:10:244::/48+"]   # needed: else the host's default route would be announced
//! networks = true                                       # the networks of interfaces too; default: false
//! ignored_interfaces = ["cali*", "docker0"]             # but not of these
//! normal_priority = 1024                                # metrics are priorities, see below; default: they are not
//! ```
//!
//! **Which routes.** Those of table `main` that send on, or drop, under any protocol id but ours (`[fib] protocol`, 12
//! without `[fib]`) and the kernel's own (`kernel`, `redirect`). Of several routes for a prefix the one with the lowest
//! metric, which is the one in force. Not taken is what means nothing beyond the host or link (127.0.0.0/8,
//! 169.254.0.0/16, fe80::/10, multicast). Changes are heard of at once; where notices are lost, or an interface takes its
//! routes along without a word, the kernel is read back and compared.
//!
//! **What becomes of them.** A path from `kernel`, with ORIGIN IGP, that is announced to every neighbour whose export
//! policy lets it pass: filters see its `interface`, and `source = "kernel"`. Inside the AS its next hop is the route's
//! gateway, if it has one; else, and towards other ASes, it is ourselves. It is never written back into the kernel, and
//! what we write there is never taken in.
//!
//! **Which path is best.** Networks of interfaces win over announcements, these over neighbours, and neighbours over
//! routes of the kernel, as in BIRD. With `normal_priority` a metric travels as LOCAL_PREF 2147483647 - metric (a route
//! without one has the normal priority), and a route whose metric is *below* the normal one is elevated: it is compared
//! with the neighbours' paths by LOCAL_PREF, and loses only to one that is at least as high. A workload that has moved
//! here is so announced from here while its former node still announces it. To neighbours that take several paths a route
//! of the kernel that is not elevated is told only if it is the best.
//!
//! **Looking at it.** `routes` and `explain` tell where a path is from (`kernel, dev cali7, metric 1024`), `status` how
//! many there are. Over a million routes are not held; `status` counts what there was no room for.
//!
//! **After a restart** these routes are known before the first session comes up, so that a neighbour which has kept them
//! (RFC 4724) is told all of them before it is told that this was all; and a neighbour's path that is preferred to one of
//! them is waited for.
