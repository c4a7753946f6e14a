//! Errors that the owner of a [`Fib`](crate::Fib) sees.
//!
//! A route that the kernel refuses is *not* an error of a call: it is pending, with the kernel's own words, in
//! [`FibStatus`](crate::FibStatus) and [`FibEvent`](crate::FibEvent).

use std::fmt;
use std::io;

use crate::model::{InvalidRoute, Route};

/// Why an operation on the FIB could not be done at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FibError {
    /// The `Fib`'s task is gone: the runtime shuts down, or the task met a bug and panicked.
    #[error("the task that talks to the kernel has stopped")]
    Closed,
    /// The configuration cannot work.
    #[error("fib configuration: {0}")]
    Config(#[from] ConfigError),
    /// Some of the given routes can never be installed. All others were accepted.
    #[error("{route}: {reason}{}", others(*.more))]
    InvalidRoute {
        /// The first such route.
        route: Box<Route>,
        /// What is wrong with it.
        reason: InvalidRoute,
        /// How many more of the given routes are wrong.
        more: usize,
    },
    /// The kernel refused a request that is not about one route.
    #[error("{request}: {refusal}")]
    Kernel {
        /// What was asked.
        request: &'static str,
        /// What the kernel said.
        refusal: Refusal,
    },
    /// The process may not change routes.
    #[error(
        "changing routes needs the capability CAP_NET_ADMIN in this network namespace: run as root, grant it with \
         `setcap cap_net_admin+ep <program>`, or add it to the service's or container's capabilities"
    )]
    NotPermitted,
    /// A netlink socket could not be made, set up or used.
    #[error("netlink socket: {what}: {source}")]
    Socket {
        /// The step that failed.
        what: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

/// A value of [`FibConfig`](crate::FibConfig) that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// `batch_len` or `queue_limit` is zero or beyond what one send can hold.
    #[error("{field} is {value}, it must be between 1 and {max}")]
    Limit {
        /// The field's name.
        field: &'static str,
        /// Its value.
        value: usize,
        /// The greatest value allowed.
        max: usize,
    },
    /// Protocol ids 0 to 4 are the kernel's and the administrator's own.
    #[error("protocol id {protocol} marks routes of the kernel or the administrator; take one above 4")]
    Protocol {
        /// The refused id.
        protocol: u8,
    },
    /// Table 0 is no table, and table 255 (local) is the kernel's.
    #[error("table {table} is not for routes of a routing daemon")]
    Table {
        /// The refused table.
        table: u32,
    },
}

/// The kernel's answer to a request that it did not carry out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Refusal {
    /// The error number, positive, as in `errno.h`.
    pub errno: i32,
    /// The kernel's own explanation, where it gave one.
    pub text: Option<Box<str>>,
}

impl Refusal {
    pub(crate) fn new(errno: i32) -> Refusal {
        Refusal { errno, text: None }
    }

    pub(crate) fn with_text(errno: i32, text: &str) -> Refusal {
        Refusal { errno, text: (!text.is_empty()).then(|| text.into()) }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = io::Error::from_raw_os_error(self.errno);
        match &self.text {
            Some(text) => write!(f, "{text} ({name})"),
            None => write!(f, "{name}"),
        }
    }
}

fn others(count: usize) -> String {
    if count == 0 { String::new() } else { format!(" (and {count} more such routes)") }
}
