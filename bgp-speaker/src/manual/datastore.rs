//! # Neighbours from a datastore
//!
//! With `[etcd]`, a node has its sessions without anyone writing them into its file. The file gives the base, the
//! datastore the rest; what both say of a neighbour or a prefix is as the file says it.
//!
//! ```toml
//! [etcd]
//! endpoints = ["https://10.0.0.5:2379", "https://10.0.0.6:2379"]
//! model = "calico"                           # calico | registry
//! node = "node-a"                            # default: $NODENAME, else the host name
//! ca_file = "/etc/etcd/ca.pem"               # default: the system's authorities
//! cert_file = "/etc/etcd/node.pem"
//! key_file = "/etc/etcd/node.key"
//! username = "bgp"                           # its password comes from $ETCD_PASSWORD
//! cache = "/var/lib/bgp/datastore.cache"     # default; "off": none
//! ```
//!
//! **`calico`** reads what Calico keeps in etcd ([`crate::cluster::calico`]) and takes the place of its BIRD. Its
//! environment (`ETCD_ENDPOINTS` and so on, `NODENAME`, `CALICO_ROUTER_ID`) stands in for keys that are absent.
//!
//! **`registry`** needs nothing but etcd: each node registers itself, and forms a mesh with all that did, or is a client
//! of those with a `[reflector]` section. [`crate::cluster::registry`] has the schema. A node needs `addresses`, or a
//! specific address in `listen`. `zone` tells where it is; a zone with reflectors of its own does without others.
//! `lease` (60 s) is how long a node that died is still listed; one that leaves (`drain`) is gone at once.
//! `bgp-speaker node list` and `node show NAME` print who is registered.
//!
//! ```toml
//! listen = ["10.0.0.1:179"]
//! announce.blocks = ["192.168.1.0/26"]
//! etcd = { endpoints = ["http://10.0.0.5:2379"], model = "registry", zone = "a" }
//! ```
//!
//! **Following it.** The keys are listed in pages at one revision and watched from the next. Whatever breaks the watch
//! (compaction, a server that is gone, an expired token) ends in a new list, which is compared with what was known.
//! Changes that arrive within some milliseconds are one change of the speaker, and [`diff`](fn@crate::config::diff) sees
//! to it that only the sessions concerned notice.
//!
//! **Without it.** An outage changes nothing: the last desired state stays in force, and the datastore is tried again
//! after a quarter of a second at first and half a minute at last, with jitter. A node that starts meanwhile uses the
//! last data in `cache`, which is written as they come; without a cache it waits, since a node without neighbours would
//! remove routes that the kernel still needs. The cache holds what etcd does, readable by root only; passwords are not
//! among it.
//!
//! **What is wrong with the data** stays without effect, object by object, and the rest is in force: `status` lists what
//! and why, `cluster_objects_invalid{kind}` counts it. `cluster_datastore_up` and `cluster_revision` say how fresh it is.
