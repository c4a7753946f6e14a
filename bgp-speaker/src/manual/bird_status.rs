//! # Status in BIRD's words
//!
//! Calico's tools ask BIRD how a node's sessions are, over unix sockets in the folder `/var/run/calico`. With
//! `[etcd] model = "calico"`, and if that folder is there, the daemon answers on `bird.ctl` about IPv4 sessions and routes,
//! and on `bird6.ctl` about IPv6 ones. `[bird_status]` says otherwise, for any daemon:
//!
//! ```toml
//! [bird_status]
//! ipv4 = "/run/bird/bird.ctl"
//! ipv6 = "off"
//! ```
//!
//! | command | what it tells |
//! |---|---|
//! | `show status` | version, router id, start, last change of the configuration; whether the node is still waiting for its neighbours' first routes |
//! | `show protocols` | one row per session: its name, `up`, `start` or (disabled) `down`, since when, the state of the session, and why it is not up |
//! | `show protocols all [NAME]` | the same, with what there is to say of each |
//! | `show route` | all paths, best ones marked with `*`, with the gateway and interface that the kernel was given |
//! | anything else | `9001 syntax error` |
//!
//! It is read-only. Times are UTC. A neighbour that is waited for is `Passive` where its session is `Idle`. What the node
//! originates is shown as `blackhole`, from `static1`; what is taken from the kernel, from `kernel1` or, for networks of interfaces,
//! `direct1`. A path that is not in the kernel has `?` for its interface.
//!
//! Sessions have Calico's names, so that `calicoctl node status` and CalicoNodeStatus find them; neighbours that only the
//! file lists are found too if they are named so (`Global_10_0_0_9`).
//!
//! # What a socket cannot do
//!
//! `calicoctl node status` asks only if it finds processes whose first argument is exactly `bird`, and for IPv6 `bird6`. For
//! the first, start the daemon under that name; it works under any:
//!
//! ```sh
//! exec -a bird bgp-speaker run --config /etc/calico/bgp.toml
//! ```
//!
//! A process has one first argument, so that IPv6 sessions are shown only if some other process is called `bird6`, such as
//! `exec -a bird6 sleep infinity` beside it. The probes do not look at processes, with one exception: `-bird-live` asks the
//! container's service manager whether its services `bird` and `confd` run. A container that has neither needs another
//! liveness probe: `/healthz` of the admin listener.
