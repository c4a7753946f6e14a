//! The Linux kernel behind the [`Kernel`](crate::kernel::Kernel) border: the only place that knows netlink.
//!
//! Messages are encoded and decoded by hand. A route needs five message types and about twenty attributes, the type
//! crates for rtnetlink have no nexthop objects and break their API several times a year, and the way to the kernel's
//! own speed is a buffer in which consecutive routes share their encoded tail. `netlink-sys` supplies the socket.
//!
//! Layouts are those of `linux/rtnetlink.h`, `linux/nexthop.h` and `linux/if_link.h`. Kernel bytes never panic:
//! what cannot be read is skipped and counted as nothing.

mod decode;
mod encode;
mod gateways;
mod monitor;
mod nexthop;
mod socket;
mod wire;

pub(crate) use monitor::Monitor;
pub(crate) use socket::RouteSocket;

#[cfg(test)]
mod tests;
