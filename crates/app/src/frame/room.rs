//! A bounded set of waiting requests that one source cannot fill for the others.

use std::collections::HashMap;
use tokio::sync::oneshot::{self, Receiver, Sender};

/// Requests waiting for a `T`, each with its source and rank. The smallest rank is served first.
pub(crate) struct Room<T> {
    limit: usize,
    next: u64,
    waiting: Vec<Waiting<T>>,
}

struct Waiting<T> {
    number: u64,
    source: String,
    rank: u64,
    call: Sender<T>,
}

impl<T> Room<T> {
    /// Returns an empty room for at most `limit` requests.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, next: 0, waiting: Vec::new() }
    }

    /// Adds a request, or returns `None` if the room is full. The rank is the number of recent failures of the source
    /// plus the number of its waiting requests. In a full room, a request takes the place of the one with the greatest
    /// rank, if that is greater than its own; the channel of the other request closes. `failures_of` is called again
    /// for this, because the networks of an attack had no failures when they arrived.
    pub(crate) fn enter(&mut self, source: &str, failures_of: &dyn Fn(&str) -> u64) -> Option<Receiver<T>> {
        // A request whose caller has disconnected needs no place.
        self.waiting.retain(|it| !it.call.is_closed());
        let others = self.waiting.iter().filter(|it| it.source == source).count();
        let rank = failures_of(source).saturating_add(others as u64);
        if self.waiting.len() >= self.limit {
            // Every place is of this source: the common case of a flood, and the cheapest answer.
            if others == self.waiting.len() {
                return None;
            }
            let (at, last) = self.worst(failures_of)?;
            if last <= rank {
                return None;
            }
            self.waiting.swap_remove(at);
        }
        let (call, called) = oneshot::channel();
        self.waiting.push(Waiting { number: self.next, source: source.to_owned(), rank, call });
        self.next += 1;
        Some(called)
    }

    /// Removes the request with the greatest rank.
    pub(crate) fn displace(&mut self, failures_of: &dyn Fn(&str) -> u64) {
        if let Some((at, _)) = self.worst(failures_of) {
            self.waiting.swap_remove(at);
        }
    }

    /// Returns the position of the request with the greatest rank, and the rank; among equal ones, the latest.
    fn worst(&self, failures_of: &dyn Fn(&str) -> u64) -> Option<(usize, u64)> {
        let mut order: Vec<usize> = (0..self.waiting.len()).collect();
        order.sort_unstable_by_key(|at| self.waiting[*at].number);
        let mut ranks: HashMap<&str, u64> = HashMap::new();
        let ranked = order.into_iter().map(|at| {
            let source = self.waiting[at].source.as_str();
            let next = ranks.entry(source).or_insert_with(|| failures_of(source));
            let rank = *next;
            *next = next.saturating_add(1);
            (at, rank)
        });
        ranked.max_by_key(|(_, rank)| *rank)
    }

    /// Removes and returns the next request to serve.
    pub(crate) fn pop(&mut self) -> Option<Sender<T>> {
        let first = (0..self.waiting.len()).min_by_key(|at| self.order(*at))?;
        Some(self.waiting.swap_remove(first).call)
    }

    /// Returns the number of waiting requests.
    pub(crate) fn len(&self) -> usize {
        self.waiting.iter().filter(|it| !it.call.is_closed()).count()
    }

    fn order(&self, at: usize) -> (u64, u64) {
        (self.waiting[at].rank, self.waiting[at].number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: fn(&str) -> u64 = |_| 0;

    #[test]
    fn a_source_that_has_failed_since_it_came_makes_place() {
        let mut room = Room::<()>::new(2);
        let _attack = ["a", "b"].map(|source| room.enter(source, &NONE).unwrap());
        assert!(room.enter("c", &NONE).is_none());
        assert!(room.enter("c", &|source| if source == "b" { 9 } else { 1 }).is_some());
        let left: Vec<_> = room.waiting.iter().map(|it| it.source.as_str()).collect();
        assert_eq!(left, ["a", "c"]);
    }

    #[test]
    fn a_source_with_one_request_is_served_before_the_second_of_another() {
        let mut room = Room::<()>::new(8);
        let _called: Vec<_> = ["a", "a", "a", "b"].map(|source| room.enter(source, &NONE).unwrap()).into();
        let mut sources = Vec::new();
        while let Some(first) = (0..room.waiting.len()).min_by_key(|at| room.order(*at)) {
            sources.push(room.waiting[first].source.clone());
            room.pop();
        }
        assert_eq!(sources, ["a", "b", "a", "a"]);
    }

    #[test]
    fn a_full_room_makes_place_for_a_source_with_fewer_requests() {
        let mut room = Room::<()>::new(3);
        let mut many: Vec<_> = (0..3).map(|_| room.enter("a", &NONE).unwrap()).collect();
        assert!(room.enter("a", &NONE).is_none(), "a fourth request of the same source");
        let other = room.enter("b", &NONE);
        assert!(other.is_some());
        assert!(
            many.pop().unwrap().try_recv().is_err(),
            "the last request of the source with most has lost its place"
        );
        assert_eq!(room.len(), 3);
        assert!(
            room.enter("c", &|source| u64::from(source == "c")).is_none(),
            "a source with failures displaces nobody of equal rank"
        );
    }

    #[test]
    fn a_request_whose_caller_has_gone_needs_no_place() {
        let mut room = Room::<()>::new(1);
        drop(room.enter("a", &NONE));
        assert_eq!(room.len(), 0);
        assert!(room.enter("b", &|_| 5).is_some());
    }
}
