//! # The admin API
//!
//! HTTP with JSON, on the unix socket `admin.socket` (everything) and on `admin.listen` (reading only). Errors are
//! `{"error": "what happened, and what to do"}`: 4xx where the request is at fault, 5xx where the daemon is. The command
//! line uses nothing else. Values have the fields of [`crate::view`]; fields may be added, none changes its meaning.
//!
//! **Routes by the page.** `/v1/routes` takes `prefix=` with `longer=true` for what is inside of it too,
//! `table=best|received|advertised`, `neighbor=` for the latter two, and `limit=` (1 to 100,000; 1000 unless given).
//! The answer's `cursor` is what to put into the next request, with the same parameters, for the next page; null on the
//! last one. A cursor names the last route that was told, so that it does not matter what comes and goes between two
//! pages: what is there throughout is told exactly once. It is opaque, never expires, and outlives a restart of the daemon
//! (then only that what is told of the prefix in which a page ended may be told again). A page may be short, or even
//! empty, and not be the last: routes went away while it was made. `truncated` is true if there is a cursor. `routes`
//! on the command line asks for page after page by itself.
//!
//! A page looks at every prefix of the table once, whatever the limit, in parts between which the daemon does what else
//! is to be done: routes are changed no later because somebody reads the table.
//!
//! **Events.** `/v1/events` is a stream of server-sent events; `topics=` is a list out of `sessions`, `routes`, `config` and
//! `fib`, all unless given. Each has `event:`, an `id:`, and as `data:` one JSON object with `event` and `time` (UTC):
//!
//! | event | topic | fields |
//! |---|---|---|
//! | `session` | sessions | `neighbor`, `name`, `change` (`added`, `removed`, `up`, `down`, `failed`), `state`; `reason` and `error` of `down` and `failed` |
//! | `route`, `no-route` | routes | `prefix`, and of `route` the `next_hop` (null: our own) and `source` (an address, or `local`) |
//! | `converged` | routes | the first convergence is done |
//! | `config` | config | `steps` as in `/v1/plan`, at most 100, and how many `more`: a reload, the datastore or a request changed something |
//! | `fib` | fib | `change` (`conflict`, `refused`, `repaired`, `diverged`, `swept`), `prefix`, `error`, `count` |
//! | `lost` | all | `count`; null: not known |
//! | `end` | all | the daemon ends |
//!
//! A neighbour that cannot be reached is told once per reason, not once per attempt. Of a prefix that changes again and
//! again the latest state counts, not each step. A client that reads slowly loses the oldest events beyond 8192, and is
//! told how many. With `Last-Event-ID` it goes on where it was if that is still there: among the last 8192, at most a
//! minute without any reader ago, and of this run of the daemon; else it is told `lost` with `null`. After 15 seconds
//! without an event a comment is sent. 32 clients can follow at a time. Without any, nothing is collected and no event
//! costs anything. `watch` on the command line prints the same as sentences, with `--json` the objects.
//!
//! **Malformed messages.** `/v1/malformed`, with `neighbor=` of one, has the last ten messages of each neighbour that could
//! not be read, or not be used as they were (a thousand in all, 4096 octets of each): when, what is wrong, what was done
//! about it (RFC 7606: `attribute-discard`, `treat-as-withdraw`, `afi-safi-disable`, `session-reset`), the octets in
//! hexadecimal, and what can be read of them. `malformed [ADDRESS]` shows them; `neighbors ADDRESS` says how many there
//! were. They survive their session, also that of a neighbour that a listen range admits, but not the daemon.
