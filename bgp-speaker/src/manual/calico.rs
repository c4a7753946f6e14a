//! # Calico's data
//!
//! A node of a Calico cluster needs no configuration of its own: its sessions, announcements and routes follow from
//! what Calico keeps in etcd. [`Snapshot`](crate::cluster::calico::Snapshot) takes keys and values as a watch delivers
//! them, [`plan`](fn@crate::cluster::calico::plan) makes one node's [`Plan`](crate::cluster::calico::Plan) of it, and
//! [`Plan::speaker_config`](crate::cluster::calico::Plan::speaker_config) is the desired state that a speaker
//! [applies](crate::SpeakerHandle::apply). Applying is hitless as far as the steps say: `reset-session` is the only one
//! that a neighbour sees as a new session.
//!
//! What is read: BGPConfiguration (`default` and `node.NAME`), BGPPeer, BGPFilter, IPPool, Node, block affinities, and
//! the blocks themselves if
//! [`Snapshot::prefixes`](crate::cluster::calico::Snapshot::prefixes) was asked for them. Services, EndpointSlices and
//! Secrets come through [`KubernetesSource`](crate::cluster::kubernetes::KubernetesSource), which today is a
//! [folder](super::datastore), local workloads through the status files that Felix writes.
//!
//! # What is the same as with BIRD
//!
//! - Session names (`Mesh_10_0_0_2`, `Global_..`, `Node_.._port_1790`, `Local_Workload_..`), and which end connects:
//!   in the mesh, and towards nodes that a global BGPPeer names by address, the end whose address is the smaller
//!   *text* (`10.0.0.10` is smaller than `10.0.0.9`).
//! - Two BGPPeers for one address with different ports are two sessions. A connection that comes in from there goes to
//!   the one that can do with it: see [`Neighbor`](crate::Neighbor).
//! - One session per address family; hold time 240 s, restart time 120 s unless configured.
//! - Route priorities: what a node originates has LOCAL_PREF 2147483647 - N, where N is the normal priority of the
//!   family (1024 unless configured).
//! - What is taken from the kernel: routes of Felix and other programs, and networks of interfaces other than `cali*`,
//!   `kube-ipvs*` and `ignoredInterfaces` ([`kernel_import`](super::kernel_import)), as far as an export rule could let
//!   them out; all of them if a session has BGPFilters. A metric below the normal priority makes a route elevated.
//! - What leaves a node, the first that applies: nothing inside a pool with `disableBGPExport`; within the AS nothing that
//!   the kernel sends into `*.cali`, `*.calico`, or `tunl0` where Felix writes the routes of IPIP; nothing that leads into
//!   `bpf*.cali`; own blocks; of what is inside an own block only elevated routes, whoever told of them; announced service
//!   ranges, and on a reflector those of others; and all that is inside pools, such as addresses out of the blocks of
//!   others. BGPFilters come before all of this, and their verdict is final.
//! - Which routes go to the kernel: by `programClusterRoutes`, the pool's encapsulation and our subnet; nothing inside
//!   ranges of services; nothing between two nodes with WireGuard. IPIP routes lead over `tunl0`, onlink.
//! - Their metrics: 2147483647 less the LOCAL_PREF of a learned route, which is 1024 for one of normal priority, and 512
//!   for an elevated one, so that it is preferred to the route of a local workload; 2147483547 for routes of other ASes,
//!   and of nodes that do not tell priorities (before Calico 3.32), whose LOCAL_PREF counts as 100. Blackholes and routes
//!   to neighbours have none. `[fib] metric` has no effect. For the kernel, another metric is another route: the new one
//!   is there before the old one goes.
//! - Paths that are equal but for tie-breakers, such as those of two routers of a rack, share packets: up to 16 next hops
//!   in one kernel route.
//! - What `calicoctl node status` and the probes ask BIRD is answered: [`bird_status`](super::bird_status).
//!
//! # What is different, and why
//!
//! | situation | Calico with BIRD | here |
//! |---|---|---|
//! | two BGPPeers for one session | either, at random | the first by name |
//! | a BGPPeer and the mesh for one neighbour | two sessions, one of which never comes up | the BGPPeer's; a session that is up stays up |
//! | two BGPPeers for one address with different ports and passwords | two sessions | the first by session name, since TCP MD5 keys have no port; the other is reported |
//! | `peerIP` without `asNumber` | AS 0 | the AS of the node with that address, else the cluster's |
//! | an affinity for a block that belongs to another node | announced by both | announced by the owner, if blocks are read; reported |
//! | an affinity in state `pendingDeletion` | announced | announced while the block still names this node |
//! | borrowed addresses | learned from the kernel | read from the blocks, until the kernel has a route for the address; from then on that route alone counts |
//! | a local workload with an elevated route, and another node's normal one (before Calico's pull 13531) | the other node's is preferred | the local one |
//! | another node's route, told by that node and also in the kernel (Felix writes some) | told to all neighbours with ADD-PATH, as a further path | not told: the kernel's path is, where it is the best |
//! | networks of interfaces, and other routes that no export rule would let out | in the table | not taken in |
//! | services with a single address | a blackhole in the kernel | never in the kernel |
//! | a value that cannot be read | ignored, or the last one, by kind | the last readable one stays in force, and the key is reported |
//! | listening port, bind mode | after a restart | at once |
//! | several paths of one prefix (ADD-PATH) | all are told | the 16 best are told |
//! | equal paths through a tunnel | the kernel's route ignores the tunnel | each next hop has its own way, by the pool's rule |
//! | mesh and reflectors take each other's place | the old sessions end first | the old ones stay until the new ones are there ([`changes`](super::changes)) |
//!
//! Neighbours that the file names and that have no export filter are told nothing from the kernel: it may be the host's
//! default route. Give them a filter that lets `source = "kernel"` pass if they are to be. A `[kernel_import]` of the file
//! takes the place of what is said here.
//!
//! # Moving a cluster from BIRD, node by node, and back
//!
//! Nodes are moved one at a time, in any order, since both kinds agree on who connects, on names and on attributes. The
//! kernel forwards all the time: BIRD's routes stay when it is killed, the speaker adopts them, and neighbours keep the
//! node's routes for the restart time (120 s unless configured), which is how long the change of daemons may take. A
//! test of the lab (`a_calico_node_is_moved_from_bird_and_back_without_a_lost_packet`) does what follows.
//!
//! **The file**, `/etc/bgp/bgp.toml`. All else is in etcd:
//!
//! ```toml
//! [etcd]
//! endpoints = ["https://10.0.0.5:2379"]      # and ca_file, cert_file, key_file as Calico has them
//! model = "calico"
//! node = "node-e"                            # the name of its Node resource; default: $NODENAME
//! cache = "/var/lib/bgp/datastore.cache"
//!
//! [fib]
//! protocol = 12                              # BIRD's: routes that it left are ours
//! ```
//!
//! **The service**, `/etc/systemd/system/bgp-speaker.service`. A DaemonSet needs the same of a pod: the host's network,
//! `NET_ADMIN`, both folders, and `terminationGracePeriodSeconds` of a few seconds:
//!
//! ```ini
//! [Unit]
//! After=network-online.target
//! [Service]
//! Type=notify-reload
//! ExecStart=/usr/local/bin/bgp-speaker run --config /etc/bgp/bgp.toml
//! Restart=always
//! [Install]
//! WantedBy=multi-user.target
//! ```
//!
//! **1. Look.** `check` finds mistakes in the file. `plan`, while no daemon runs, reads etcd and prints what the speaker
//! would do: its sessions must have the names that BIRD's have.
//!
//! ```text
//! bgp-speaker check --config /etc/bgp/bgp.toml
//! bgp-speaker plan --config /etc/bgp/bgp.toml
//! birdcl -s /var/run/calico/bird.ctl show protocols
//! ```
//!
//! **2. End confd and BIRD**, confd first, or it would start BIRD again; and BIRD *without grace*. A connection that just
//! breaks makes the neighbours keep the node's routes; on SIGTERM BIRD says goodbye, and they drop them at once. Calico's
//! pod runs them under runit: `once` means that they are not started again, `kill` is SIGKILL.
//!
//! ```text
//! kubectl exec --namespace kube-system calico-node-x7k2p -- sv once confd bird bird6
//! kubectl exec --namespace kube-system calico-node-x7k2p -- sv kill confd bird bird6
//! ```
//!
//! That lasts as long as the pod. For good, give the moved nodes a DaemonSet of their own (by a label of the node) with
//! `CALICO_NETWORKING_BACKEND=none`, which starts neither, and without the probe `-bird-live`, which asks for BIRD's
//! service. What `-bird-ready` and `calicoctl node status` ask, the speaker answers ([`bird_status`](super::bird_status)).
//!
//! **3. Start the speaker.**
//!
//! ```text
//! systemctl enable --now bgp-speaker
//! ```
//!
//! **4. Look again**, before the next node's turn. The node is done when `status` says *ready*, kernel *in sync*, datastore
//! *followed*, and `neighbors` shows every session as Established. What BIRD ignored in silence is listed as *invalid*:
//!
//! ```text
//! bgp-speaker status
//! bgp-speaker neighbors
//! ip route show proto bird
//! ```
//!
//! What nobody wants any more leaves the kernel once all neighbours have told their routes
//! ([`restart`](super::restart)). BIRD's blackholes are replaced by ones with the metric of `[fib]`.
//!
//! **Back**, after a look at step 4 that did not please, or a year later: stop the speaker by SIGTERM, never by `drain`.
//! It leaves all routes, and its neighbours keep the node's. Then let runit start BIRD, which takes over routes of protocol
//! 12 and removes those that it does not want. `birdcl show protocols` must show every session as Established.
//!
//! ```text
//! systemctl disable --now bgp-speaker
//! kubectl exec --namespace kube-system calico-node-x7k2p -- sv up confd bird bird6
//! ```
