//! How fast, compared with a loop that sends prepared messages in ascending order. Figures are printed, and
//! only the count of routes is asserted, since test machines are shared. Meant for `--release`.

mod common;

use std::time::{Duration, Instant};

use common::*;
use fib_sync::*;
use ipnet::{IpNet, Ipv4Net};

/// `FIB_SPEED_ROUTES` overrides it.
const ROUTES: u32 = 100_000;

fn route_count() -> u32 {
    std::env::var("FIB_SPEED_ROUTES").ok().and_then(|count| count.parse().ok()).unwrap_or(ROUTES)
}

fn prefix(index: u32) -> IpNet {
    let address = std::net::Ipv4Addr::from(0x1400_0000 + (index << 8));
    IpNet::V4(Ipv4Net::new(address, 24).unwrap())
}

fn routes(gateway: &str) -> Vec<Route> {
    let set = NextHopSet::from(gateway.parse::<std::net::IpAddr>().unwrap());
    (0..route_count()).map(|index| Route::unicast(prefix(index), set.clone())).collect()
}

fn report(what: &str, elapsed: Duration) {
    let rate = f64::from(route_count()) / elapsed.as_secs_f64();
    println!("{what:<44} {:>8.0} routes/s  {:>6.0} ms", rate, elapsed.as_secs_f64() * 1e3);
}

async fn timed(what: &str, work: impl Future<Output = ()>) -> Duration {
    let (begin, cpu) = (Instant::now(), cpu_times());
    work.await;
    let elapsed = begin.elapsed();
    report(what, elapsed);
    let (user, system) = cpu_times();
    println!("    user {:.0} ms, system {:.0} ms", user - cpu.0, system - cpu.1);
    elapsed
}

/// User and system time of this process in milliseconds.
fn cpu_times() -> (f64, f64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let mut fields = stat.rsplit(')').next().unwrap().split_whitespace().skip(11);
    let mut ticks = || fields.next().unwrap().parse::<f64>().unwrap() * 10.0;
    (ticks(), ticks())
}

#[test]
fn a_hundred_thousand_routes() {
    in_namespace(|| async {
        for kind in [NexthopObjects::Auto, NexthopObjects::Never] {
            println!("-- {kind:?}, {} routes", route_count());
            let raw = raw::Raw::new(kind);
            report("raw loop: install", raw.install());
            report("raw loop: replace", raw.replace());
            report("raw loop: delete", raw.delete());
            let fib = Fib::open(FibConfig { nexthop_objects: kind, ..config() }).await.unwrap();
            let in_step =
                async |fib: &Fib| assert!(fib.flush().await.unwrap().is_in_step(), "{:?}", fib.status());
            let (first, second) = (routes("10.0.0.2"), routes("10.0.0.3"));
            timed("install", async {
                fib.replace_all(first).await.unwrap();
                in_step(&fib).await;
            })
            .await;
            timed("replace", async {
                fib.replace_all(second).await.unwrap();
                in_step(&fib).await;
            })
            .await;
            let again = routes("10.0.0.3");
            timed("nothing to do", async {
                fib.replace_all(again).await.unwrap();
                in_step(&fib).await;
            })
            .await;
            drop(fib);
            let again = routes("10.0.0.3");
            let config = FibConfig { nexthop_objects: kind, ..config() };
            timed("adopt", async {
                let fib = Fib::open(config.clone()).await.unwrap();
                fib.replace_all(again).await.unwrap();
                let status = fib.flush().await.unwrap();
                assert!(status.is_in_step());
                assert_eq!(status.operations_ok, 0);
            })
            .await;
            let fib = Fib::open(config).await.unwrap();
            timed("delete", async {
                assert_eq!(fib.remove_all().await.unwrap(), route_count() as usize);
            })
            .await;
        }
    });
}

/// Prepared messages in large sends: what the kernel alone costs.
mod raw {
    use std::time::{Duration, Instant};

    use fib_sync::NexthopObjects;
    use netlink_sys::{Socket, SocketAddr};

    use super::{ip, prefix, route_count};

    pub(crate) struct Raw {
        socket: Socket,
        kind: NexthopObjects,
    }

    const BATCH: u32 = 2000;

    impl Raw {
        pub(crate) fn new(kind: NexthopObjects) -> Raw {
            let _ = ip("nexthop replace id 7 via 10.0.0.2 dev a0");
            let _ = ip("nexthop replace id 8 via 10.0.0.3 dev a0");
            let mut socket = Socket::new(0).unwrap();
            socket.bind_auto().unwrap();
            socket.connect(&SocketAddr::new(0, 0)).unwrap();
            Raw { socket, kind }
        }

        pub(crate) fn install(&self) -> Duration {
            self.run(24, 0x600, 2)
        }

        pub(crate) fn replace(&self) -> Duration {
            self.run(24, 0x500, 3)
        }

        pub(crate) fn delete(&self) -> Duration {
            self.run(25, 0, 0)
        }

        fn run(&self, message_type: u16, flags: u16, last_octet: u8) -> Duration {
            let sends: Vec<Vec<u8>> = (0..route_count())
                .step_by(BATCH as usize)
                .map(|from| self.prepare(from, message_type, flags, last_octet))
                .collect();
            let begin = Instant::now();
            let mut buffer = Vec::with_capacity(4096);
            for bytes in &sends {
                self.socket.send(bytes, 0).unwrap();
                buffer.clear();
                self.socket.recv(&mut buffer, 0).unwrap();
                assert_eq!(buffer[16..20], [0; 4], "the last of the batch was carried out");
            }
            begin.elapsed()
        }

        fn prepare(&self, from: u32, message_type: u16, flags: u16, last_octet: u8) -> Vec<u8> {
            let mut bytes = Vec::new();
            let to = (from + BATCH).min(route_count());
            for index in from..to {
                let start = bytes.len();
                let ack = if index + 1 == to { 4 } else { 0 };
                bytes.extend_from_slice(&[0; 4]);
                bytes.extend_from_slice(&message_type.to_ne_bytes());
                bytes.extend_from_slice(&(flags | 1u16 | ack).to_ne_bytes());
                bytes.extend_from_slice(&index.to_ne_bytes());
                bytes.extend_from_slice(&[0; 4]);
                let is_delete = message_type == 25;
                let (scope, kind) = if is_delete { (255, 0) } else { (0, 1) };
                bytes.extend_from_slice(&[2, 24, 0, 0, 254, 12, scope, kind, 0, 0, 0, 0]);
                let std::net::IpAddr::V4(address) = prefix(index).addr() else { unreachable!() };
                put(&mut bytes, 1, &address.octets());
                put(&mut bytes, 6, &1024u32.to_ne_bytes());
                if !is_delete {
                    match self.kind {
                        NexthopObjects::Never => put(&mut bytes, 5, &[10, 0, 0, last_octet]),
                        _ => put(&mut bytes, 30, &(u32::from(last_octet) + 5).to_ne_bytes()),
                    }
                }
                let len = (bytes.len() - start) as u32;
                bytes[start..start + 4].copy_from_slice(&len.to_ne_bytes());
            }
            bytes
        }
    }

    fn put(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
        bytes.extend_from_slice(&(value.len() as u16 + 4).to_ne_bytes());
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(value);
    }
}
