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
//! kubernetes_folder = "/etc/bgp/kubernetes"  # calico: Services, EndpointSlices and Secrets; default: none
//! endpoint_status_folder = "/var/run/calico/endpoint-status"   # calico: local workloads; default; "off": none
//! ```
//!
//! **`calico`** reads what Calico keeps in etcd ([`crate::cluster::calico`]) and takes the place of its BIRD. The
//! environment of Calico's programs is honoured: `ETCD_ENDPOINTS`, `ETCD_CA_CERT_FILE`, `ETCD_CERT_FILE`,
//! `ETCD_KEY_FILE`, `ETCD_USERNAME`, `ETCD_PASSWORD`, `NODENAME` and `CALICO_ENDPOINT_STATUS_PATH_PREFIX` where a key is
//! absent, and `CALICO_ROUTER_ID`, `CALICO_K8S_NODE_REF`, `NAMESPACE`, `CALICO_ADVERTISE_CLUSTER_IPS` and `USE_POD_CIDR`,
//! which have none.
//!
//! What Calico keeps in Kubernetes only comes from `kubernetes_folder`: its `*.json` files, each an object or a `List`
//! of some, as `kubectl get -o json` prints them. Kinds are `Service`, `EndpointSlice` and `Secret`; Secrets count in the
//! namespace of `NAMESPACE`, or `kube-system`. `endpoint_status_folder` is where Felix tells of the workloads that a
//! BGPPeer with `localWorkloadSelector` asks for.
//!
//! - Files may be renamed into these folders, written in place, or belong to a mounted volume (`..data`). Only files
//!   directly in the folder are read, and none whose name starts with a dot. A change is in force some milliseconds
//!   later; one that the kernel does not tell of, such as behind a link to elsewhere, within half a minute.
//! - A file that is no object, or larger than 8 MiB, is told by name and leaves in force what it said last; so does a
//!   folder that vanishes. Of two files with one object the one that had it first counts, at the start the first by name.
//! - `kubernetes_folder` must be there at the start: without it nothing would be known of passwords and services, so the
//!   daemon waits. Felix's folder may appear later.
//! - A password that is not there, is empty or longer than TCP MD5 takes (80 bytes) is a problem that `status` shows, and
//!   the session is set up without one, as Calico does it: the neighbour, which has one, refuses it. When a password
//!   appears, changes or vanishes, its sessions are reset, and no others.
//! - Secrets stay in memory: neither the cache, logs, plans nor messages have them.
//!
//! **`registry`** needs nothing but etcd: each node registers itself, and forms a mesh with all that did, or is a client
//! of those with a `[reflector]` section. [`crate::cluster::registry`] has the schema. A node needs `addresses`, or a
//! specific address in `listen`. `zone` tells where it is; a zone with reflectors of its own does without others.
//! `lease` (60 s) is how long a node that died is still listed; one that leaves (`drain`) is gone at once. A key that
//! somebody deletes while its node lives is put back at once.
//! `bgp-speaker node list` and `node show NAME` print who is registered. Of two nodes with one name the first is
//! registered; the other one says so in its `status`, and is registered when the first is gone.
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
//! **The first plan** waits for every source: etcd listed, both folders read. Half of the data would withdraw the rest.
//! `bgp-speaker plan` shows what the data ask of the running daemon; `plan --config FILE` needs none: it reads everything
//! once, writes nothing, and tells on stderr what is wrong with the data.
//!
//! **Without it.** An outage changes nothing: the last desired state stays in force, and the datastore is tried again
//! after a quarter of a second at first and half a minute at last, with jitter. A node that starts meanwhile uses the
//! last data in `cache`, which is written as they come; without a cache it waits, since a node without neighbours would
//! remove routes that the kernel still needs. The cache holds what etcd does, readable by root only; what comes from
//! folders is not in it, and is read again.
//!
//! **What is wrong with the data** stays without effect, object by object, and the rest is in force: `status` lists what
//! and why, `cluster_objects_invalid{kind}` counts it; kind `File` is a file, `Source` a folder. `cluster_datastore_up`
//! and `cluster_revision` say how fresh it is.
