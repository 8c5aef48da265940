//! Nodes that have no lease, and when the managers of the platform are told.

use crate::Timestamp;
use std::time::Duration;

/// How long a node is without a lease before it is missed. A restart or a failover takes less.
const MISSED_AFTER: Duration = Duration::from_secs(60);

/// Returns those nodes that are missed at `now`. Each has a name, and the end of a lease that it did not give up. A process that
/// was started again under the same name stands for the earlier one.
pub fn missed<N>(nodes: Vec<N>, of: impl Fn(&N) -> (&str, Timestamp), now: Timestamp) -> Vec<N> {
    let (gone, there): (Vec<N>, Vec<N>) = nodes.into_iter().partition(|node| of(node).1 <= now);
    let is_missed = |node: &N| {
        let (name, ended_at) = of(node);
        ended_at <= now.before(MISSED_AFTER) && there.iter().all(|other| of(other).0 != name)
    };
    gone.into_iter().filter(is_missed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_missed_a_minute_after_its_lease_unless_it_was_started_again() {
        let at = |second: i64| Timestamp::from_seconds(second);
        let names = |nodes: &[(&'static str, i64)], now: i64| -> Vec<&'static str> {
            let nodes: Vec<_> = nodes.iter().map(|(name, end)| (*name, at(*end))).collect();
            missed(nodes, |it| (it.0, it.1), at(now)).into_iter().map(|it| it.0).collect()
        };
        assert_eq!(names(&[("east", 100)], 99), [""; 0], "it can decide");
        assert_eq!(names(&[("east", 100)], 159), [""; 0]);
        assert_eq!(names(&[("east", 100), ("west", 200)], 160), ["east"]);
        assert_eq!(names(&[("east", 100), ("east", 200)], 160), [""; 0], "a new process of the same name");
        assert_eq!(names(&[("east", 100), ("east", 200)], 260), ["east", "east"]);
    }
}
