//! How many messages, by type.

use bgp_proto::MessageType;

const TYPES: [(MessageType, &str); 5] = [
    (MessageType::OPEN, "open"),
    (MessageType::UPDATE, "update"),
    (MessageType::NOTIFICATION, "notification"),
    (MessageType::KEEPALIVE, "keepalive"),
    (MessageType::ROUTE_REFRESH, "route-refresh"),
];

/// One per direction. In one piece, since it is touched for every write.
#[derive(Clone, Copy, Debug, Default)]
pub struct MessageCounts([u64; TYPES.len()]);

impl MessageCounts {
    /// So many more.
    pub fn add(&mut self, kind: MessageType, count: u64) {
        // Frames of other types do not get this far.
        if let Some(place) = self.0.get_mut(usize::from(kind.0).wrapping_sub(1)) {
            *place += count;
        }
    }

    /// Those that there were, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        TYPES.iter().zip(self.0).map(|((_, name), count)| (*name, count)).filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_its_place() {
        let mut counts = MessageCounts::default();
        for (index, (kind, _)) in TYPES.into_iter().enumerate() {
            counts.add(kind, index as u64);
        }
        counts.add(MessageType(0), 7);
        counts.add(MessageType(6), 7);
        let counted: Vec<_> = counts.iter().collect();
        assert_eq!(counted, [("update", 1), ("notification", 2), ("keepalive", 3), ("route-refresh", 4)]);
    }
}
