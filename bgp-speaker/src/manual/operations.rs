//! # Running it
//!
//! **What can be asked.** `status`, `neighbors [ADDRESS]` and `routes [PREFIX]` read from the admin socket; each has
//! `--json` with the fields of [`crate::view`]. `watch` prints what happens as it happens, `top` is a screen that stays
//! up to date (with `--json` an object a second), `malformed [ADDRESS]` shows messages that could not be read or used;
//! what is behind them is in [`admin_api`](super::admin_api). `/metrics`, `/healthz` and `/readyz` are on the admin listener, which is
//! read-only and on loopback unless configured otherwise. Whoever may write to the socket may do everything.
//!
//! **Sessions that do not come up.** `neighbors ADDRESS` shows the last error of either side. An attempt that fails is
//! repeated after half a second at first and half a minute at last, with jitter; after an error that only a
//! configuration can mend (an unacceptable OPEN, too many prefixes) it is half a minute from the start.
//!
//! **Several neighbours at one address** differ in `port`; commands and requests then take `ADDRESS:PORT`
//! (`[ADDRESS]:PORT` for IPv6) where an address alone would not tell which is meant, and so do labels of metrics.
//!
//! **Malformed UPDATEs** are handled by RFC 7606: the attribute is dropped, or its routes are withdrawn, and the
//! session stays; `bgp_update_errors_total{attribute,action}` counts them, and `malformed` shows them. What cannot be
//! contained resets the one session that it came on.
//!
//! **Next hops.** What a node originates carries the session's own address. On a session of the other family it carries
//! the address of the same interface, or the first of `addresses` in the configuration; where there is none, routes of
//! that family are not advertised on it.
//!
//! **TCP MD5 and GTSM** are set on listening and connecting sockets (`password_file`, `ttl_security`). The key of a
//! listen range covers its whole prefix.
//!
//! **Several paths of one prefix** (ADD-PATH, RFC 7911): `add_paths` of a neighbour or listen range is `"off"`,
//! `"receive"`, `"send"` or `"both"`, for all families of the session; a direction is used if the neighbour offers the
//! other end of it, which `neighbors ADDRESS` shows as `several paths`. Sent are all paths that reflection rules and
//! filters let pass, best first, up to `add_paths_max` of a prefix (1 to 255, 16 unless configured); of those a neighbour
//! is spared its own. To change either sets the session up anew. Of one prefix a neighbour may have
//! 256 paths; what comes beyond is not kept, a warning says so, and once there is room for half of that the neighbour is
//! asked for its routes again.
//!
//! **Refused connections** are counted by `bgp_refused_connections_total{reason}`. The log has the first from each /24 or
//! /64 in a minute, and how many from there were not told since; beyond 64 such ranges all others share a line.
//!
//! **Several next hops of one route** (multipath, ECMP): with `next_hops_max` in `[fib]` (1 to 255; 1 unless configured, 16
//! on Calico nodes) a route in the kernel has the next hops of the best path and of those that are as good but for
//! tie-breakers, that is, all that is compared after eBGP before iBGP: identifiers, CLUSTER_LIST, addresses. `explain` says
//! which they are. A next hop that there is no way to is left out. Neighbours are told the best path alone, unless they
//! take several.
//!
//! **Limits.** `max_prefixes` per session, where with ADD-PATH each path counts, `max_sessions` per listen range. Without them a neighbour can make the
//! tables as large as memory allows: configure them for neighbours that you do not run.
