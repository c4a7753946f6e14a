//! Numbers assigned by IANA, as open newtypes: an unknown number is a value, never an error.

use core::fmt;
use core::ops::BitOr;

/// Declares an open newtype over an integer with named constants, `Debug` and `Display`.
macro_rules! code_points {
    (
        $(#[$meta:meta])*
        pub struct $name:ident($repr:ty);
        $( $(#[$doc:meta])* $constant:ident = $value:literal, $text:literal; )*
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub $repr);

        impl $name {
            $( $(#[$doc])* #[doc = concat!("\n\nValue ", stringify!($value), ".")]
               pub const $constant: $name = $name($value); )*

            /// The registered name, if this crate knows the number.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $( $value => Some($text), )*
                    _ => None,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, "{}", self.0),
                }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.name() {
                    Some(name) => write!(f, "{}({} {name})", stringify!($name), self.0),
                    None => write!(f, "{}({})", stringify!($name), self.0),
                }
            }
        }

        impl From<$repr> for $name {
            fn from(raw: $repr) -> Self {
                $name(raw)
            }
        }
    };
}

code_points! {
    /// The type of a message (RFC 4271 §4.1).
    /// <https://www.iana.org/assignments/bgp-parameters/bgp-parameters.xhtml#bgp-parameters-1>
    pub struct MessageType(u8);
    /// RFC 4271 §4.2.
    OPEN = 1, "OPEN";
    /// RFC 4271 §4.3.
    UPDATE = 2, "UPDATE";
    /// RFC 4271 §4.5.
    NOTIFICATION = 3, "NOTIFICATION";
    /// RFC 4271 §4.4.
    KEEPALIVE = 4, "KEEPALIVE";
    /// RFC 2918.
    ROUTE_REFRESH = 5, "ROUTE-REFRESH";
}

code_points! {
    /// The type code of a path attribute (RFC 4271 §4.3).
    /// <https://www.iana.org/assignments/bgp-parameters/bgp-parameters.xhtml#bgp-parameters-2>
    pub struct AttributeCode(u8);
    /// Reserved; stands for "no type code was received" in errors.
    RESERVED = 0, "reserved";
    /// RFC 4271 §5.1.1.
    ORIGIN = 1, "ORIGIN";
    /// RFC 4271 §5.1.2.
    AS_PATH = 2, "AS_PATH";
    /// RFC 4271 §5.1.3.
    NEXT_HOP = 3, "NEXT_HOP";
    /// MULTI_EXIT_DISC, RFC 4271 §5.1.4.
    MED = 4, "MULTI_EXIT_DISC";
    /// RFC 4271 §5.1.5.
    LOCAL_PREF = 5, "LOCAL_PREF";
    /// RFC 4271 §5.1.6.
    ATOMIC_AGGREGATE = 6, "ATOMIC_AGGREGATE";
    /// RFC 4271 §5.1.7.
    AGGREGATOR = 7, "AGGREGATOR";
    /// RFC 1997.
    COMMUNITIES = 8, "COMMUNITIES";
    /// RFC 4456 §8.
    ORIGINATOR_ID = 9, "ORIGINATOR_ID";
    /// RFC 4456 §8.
    CLUSTER_LIST = 10, "CLUSTER_LIST";
    /// RFC 4760 §3.
    MP_REACH_NLRI = 14, "MP_REACH_NLRI";
    /// RFC 4760 §4.
    MP_UNREACH_NLRI = 15, "MP_UNREACH_NLRI";
    /// RFC 4360 §2.
    EXTENDED_COMMUNITIES = 16, "EXTENDED_COMMUNITIES";
    /// RFC 6793 §3.
    AS4_PATH = 17, "AS4_PATH";
    /// RFC 6793 §3.
    AS4_AGGREGATOR = 18, "AS4_AGGREGATOR";
    /// RFC 6514 §5.
    PMSI_TUNNEL = 22, "PMSI_TUNNEL";
    /// RFC 9012.
    TUNNEL_ENCAPSULATION = 23, "TUNNEL_ENCAPSULATION";
    /// RFC 5701.
    IPV6_EXTENDED_COMMUNITIES = 25, "IPV6_EXTENDED_COMMUNITIES";
    /// RFC 7311.
    AIGP = 26, "AIGP";
    /// RFC 8092.
    LARGE_COMMUNITIES = 32, "LARGE_COMMUNITIES";
    /// Only to customer, RFC 9234 §5.
    OTC = 35, "OTC";
    /// RFC 8669.
    PREFIX_SID = 40, "PREFIX_SID";
}

code_points! {
    /// The code of a capability (RFC 5492).
    /// <https://www.iana.org/assignments/capability-codes/capability-codes.xhtml>
    pub struct CapabilityCode(u8);
    /// RFC 4760 §8.
    MULTI_PROTOCOL = 1, "multiprotocol";
    /// RFC 2918 §2.
    ROUTE_REFRESH = 2, "route-refresh";
    /// RFC 5291 §4.
    OUTBOUND_ROUTE_FILTERING = 3, "outbound-route-filtering";
    /// RFC 8950 §4.
    EXTENDED_NEXT_HOP = 5, "extended-next-hop";
    /// RFC 8654 §3.
    EXTENDED_MESSAGE = 6, "extended-message";
    /// RFC 9234 §4.
    ROLE = 9, "role";
    /// RFC 4724 §3.
    GRACEFUL_RESTART = 64, "graceful-restart";
    /// RFC 6793 §3.
    FOUR_OCTET_AS = 65, "four-octet-as";
    /// RFC 7911 §4.
    ADD_PATH = 69, "add-path";
    /// RFC 7313 §3.
    ENHANCED_ROUTE_REFRESH = 70, "enhanced-route-refresh";
    /// RFC 9494 §3.
    LONG_LIVED_GRACEFUL_RESTART = 71, "long-lived-graceful-restart";
}

code_points! {
    /// The error code of a NOTIFICATION (RFC 4271 §4.5).
    /// <https://www.iana.org/assignments/bgp-parameters/bgp-parameters.xhtml#bgp-parameters-3>
    pub struct NotificationCode(u8);
    /// RFC 4271 §6.1.
    MESSAGE_HEADER_ERROR = 1, "Message Header Error";
    /// RFC 4271 §6.2.
    OPEN_MESSAGE_ERROR = 2, "OPEN Message Error";
    /// RFC 4271 §6.3.
    UPDATE_MESSAGE_ERROR = 3, "UPDATE Message Error";
    /// RFC 4271 §6.5.
    HOLD_TIMER_EXPIRED = 4, "Hold Timer Expired";
    /// RFC 4271 §6.6, RFC 6608.
    FSM_ERROR = 5, "Finite State Machine Error";
    /// RFC 4271 §6.7, RFC 4486.
    CEASE = 6, "Cease";
    /// RFC 7313 §5.
    ROUTE_REFRESH_MESSAGE_ERROR = 7, "ROUTE-REFRESH Message Error";
    /// RFC 9687 §6.
    SEND_HOLD_TIMER_EXPIRED = 8, "Send Hold Timer Expired";
}

/// The flags octet of a path attribute (RFC 4271 §4.3).
///
/// ```text
///   0   1   2   3   4   5   6   7
/// +---+---+---+---+---+---+---+---+
/// | O | T | P | E |   reserved    |
/// +---+---+---+---+---+---+---+---+
/// ```
///
/// The low four bits are reserved: ignored on receipt, zero in what this crate writes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttributeFlags(pub u8);

impl AttributeFlags {
    /// O: optional (set) or well-known (clear).
    pub const OPTIONAL: AttributeFlags = AttributeFlags(0x80);
    /// T: transitive.
    pub const TRANSITIVE: AttributeFlags = AttributeFlags(0x40);
    /// P: some speaker on the way did not know this optional transitive attribute.
    pub const PARTIAL: AttributeFlags = AttributeFlags(0x20);
    /// E: the length field has two octets.
    pub const EXTENDED_LENGTH: AttributeFlags = AttributeFlags(0x10);

    /// Flags of every well-known attribute: transitive, not optional.
    pub const WELL_KNOWN: AttributeFlags = AttributeFlags::TRANSITIVE;
    /// Flags of an optional transitive attribute that every speaker on the way knew.
    pub const OPTIONAL_TRANSITIVE: AttributeFlags = AttributeFlags(0xc0);

    /// True if every bit of `other` is set here.
    pub const fn contains(self, other: AttributeFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// The Optional and Transitive bits alone: what RFC 7606 §3 (c) compares.
    pub const fn class(self) -> AttributeFlags {
        AttributeFlags(self.0 & 0xc0)
    }

    /// Without the Extended Length bit and the reserved bits: what does not depend on the encoding.
    pub const fn canonical(self) -> AttributeFlags {
        AttributeFlags(self.0 & 0xe0)
    }
}

impl BitOr for AttributeFlags {
    type Output = AttributeFlags;

    fn bitor(self, other: AttributeFlags) -> AttributeFlags {
        AttributeFlags(self.0 | other.0)
    }
}

impl fmt::Debug for AttributeFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AttributeFlags({:#04x})", self.0)
    }
}

/// Subcodes of a NOTIFICATION, one module per error code.
/// <https://www.iana.org/assignments/bgp-parameters/bgp-parameters.xhtml#bgp-parameters-4>
pub mod subcode {
    /// The subcode of an error that no other subcode describes.
    pub const UNSPECIFIC: u8 = 0;

    /// Message Header Error (RFC 4271 §6.1).
    pub mod header {
        /// The marker is not all ones.
        pub const CONNECTION_NOT_SYNCHRONIZED: u8 = 1;
        /// The length is out of bounds, or too small for the type.
        pub const BAD_MESSAGE_LENGTH: u8 = 2;
        /// The type is unknown.
        pub const BAD_MESSAGE_TYPE: u8 = 3;
    }

    /// OPEN Message Error (RFC 4271 §6.2).
    pub mod open {
        /// The version is not 4.
        pub const UNSUPPORTED_VERSION: u8 = 1;
        /// The AS number is not acceptable.
        pub const BAD_PEER_AS: u8 = 2;
        /// The BGP identifier is zero, or our own on an internal session (RFC 6286 §2.2).
        pub const BAD_BGP_ID: u8 = 3;
        /// An optional parameter is not recognized.
        pub const UNSUPPORTED_OPTIONAL_PARAMETER: u8 = 4;
        /// The hold time is 1 or 2 seconds, or otherwise refused.
        pub const UNACCEPTABLE_HOLD_TIME: u8 = 6;
        /// A capability that we require is missing (RFC 5492 §3).
        pub const UNSUPPORTED_CAPABILITY: u8 = 7;
        /// The roles of the two speakers do not fit (RFC 9234 §4.2).
        pub const ROLE_MISMATCH: u8 = 11;
    }

    /// UPDATE Message Error (RFC 4271 §6.3).
    pub mod update {
        /// The attribute lengths contradict the message length, or an attribute is repeated.
        pub const MALFORMED_ATTRIBUTE_LIST: u8 = 1;
        /// A well-known attribute is not recognized.
        pub const UNRECOGNIZED_WELL_KNOWN: u8 = 2;
        /// A mandatory attribute is absent.
        pub const MISSING_WELL_KNOWN: u8 = 3;
        /// The flags contradict the type code.
        pub const ATTRIBUTE_FLAGS: u8 = 4;
        /// The length contradicts the type code.
        pub const ATTRIBUTE_LENGTH: u8 = 5;
        /// ORIGIN has an undefined value.
        pub const INVALID_ORIGIN: u8 = 6;
        /// NEXT_HOP is not a host address.
        pub const INVALID_NEXT_HOP: u8 = 8;
        /// An optional attribute has a bad value.
        pub const OPTIONAL_ATTRIBUTE: u8 = 9;
        /// NLRI are syntactically incorrect.
        pub const INVALID_NETWORK_FIELD: u8 = 10;
        /// AS_PATH is syntactically incorrect.
        pub const MALFORMED_AS_PATH: u8 = 11;
    }

    /// Finite State Machine Error (RFC 6608).
    pub mod fsm {
        /// An unexpected message in OpenSent.
        pub const UNEXPECTED_IN_OPEN_SENT: u8 = 1;
        /// An unexpected message in OpenConfirm.
        pub const UNEXPECTED_IN_OPEN_CONFIRM: u8 = 2;
        /// An unexpected message in Established.
        pub const UNEXPECTED_IN_ESTABLISHED: u8 = 3;
    }

    /// Cease (RFC 4486 §4).
    pub mod cease {
        /// The peer sent more prefixes than it may.
        pub const MAXIMUM_PREFIXES: u8 = 1;
        /// The operator shut the session down; may carry a text (RFC 9003).
        pub const ADMINISTRATIVE_SHUTDOWN: u8 = 2;
        /// The operator removed the neighbour.
        pub const PEER_DECONFIGURED: u8 = 3;
        /// The operator reset the session; may carry a text (RFC 9003).
        pub const ADMINISTRATIVE_RESET: u8 = 4;
        /// The connection is not wanted.
        pub const CONNECTION_REJECTED: u8 = 5;
        /// A configuration change needs a new session.
        pub const OTHER_CONFIGURATION_CHANGE: u8 = 6;
        /// The other of two connections survives (RFC 4271 §6.8).
        pub const CONNECTION_COLLISION: u8 = 7;
        /// No memory, no descriptors.
        pub const OUT_OF_RESOURCES: u8 = 8;
        /// Do not keep routes across this reset (RFC 8538 §3).
        pub const HARD_RESET: u8 = 9;
        /// BFD declared the path down (RFC 9384).
        pub const BFD_DOWN: u8 = 10;
    }

    /// ROUTE-REFRESH Message Error (RFC 7313 §5).
    pub mod route_refresh {
        /// A demarcation message has another length than 23 octets.
        pub const INVALID_MESSAGE_LENGTH: u8 = 1;
    }
}
