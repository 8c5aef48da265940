//! The open connections: limits in total and per source, and which connection gives way at a limit.

use super::life::Watch;
use crossfade_web::{Connections, Ended, TrustedProxies};
use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::time::Instant;

/// Limits for connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bounds {
    pub(crate) all: usize,
    /// Limit per IPv4 address or IPv6 /64. For a declared proxy only `all` applies.
    pub(crate) per_source: usize,
}

/// Maximum number of connections searched for an idle one. Limits the work of a refusal.
const SAMPLE: usize = 64;

/// The open connections.
pub(super) struct Book {
    bounds: Bounds,
    proxies: TrustedProxies,
    counts: Connections,
    pages: Mutex<Pages>,
    running: Mutex<RunningRequests>,
}

/// Numbers of running HTTP/2 requests.
#[derive(Default)]
struct RunningRequests {
    all: usize,
    of: HashMap<Option<IpAddr>, usize>,
}

/// Maximum number of running HTTP/2 requests of all connections. Each needs about 10 KiB, with at most 100 headers.
const MAX_RUNNING: usize = 16 * 1024;
/// Maximum number of running HTTP/2 requests per source. For a declared proxy only [`MAX_RUNNING`] applies.
const MAX_RUNNING_OF_SOURCE: usize = 1024;

#[derive(Default)]
struct Pages {
    last: u64,
    strangers: Group,
    proxies: Group,
    sources: HashMap<IpAddr, Group>,
}

/// Connections that share a limit, in the order in which they were accepted.
#[derive(Default)]
struct Group {
    /// Connections without a request so far. They give way first, the oldest before the others.
    silent: BTreeMap<u64, Entry>,
    asked: BTreeMap<u64, Entry>,
    /// Where the last search for an idle connection stopped.
    cursor: u64,
}

#[derive(Clone)]
struct Entry {
    /// `None` for a declared proxy.
    source: Option<IpAddr>,
    watch: Arc<Watch>,
}

/// Place of a connection in the book, until it is dropped.
pub(super) struct Place {
    book: Arc<Book>,
    id: u64,
    source: Option<IpAddr>,
    pub(super) watch: Arc<Watch>,
}

impl Book {
    pub(super) fn new(bounds: Bounds, proxies: TrustedProxies, counts: Connections) -> Self {
        Self { bounds, proxies, counts, pages: Mutex::default(), running: Mutex::default() }
    }

    /// Adds a connection. At a limit, a connection that is answering nothing gives way; if there is none, the new one
    /// is refused.
    pub(super) fn admit(self: &Arc<Self>, peer: IpAddr, now: Instant) -> Result<Place, Ended> {
        let peer = peer.to_canonical();
        let source = (!self.proxies.trusts(peer)).then(|| source_of(peer));
        let watch = Arc::new(Watch::new(now));
        let entry = Entry { source, watch: watch.clone() };
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(group) = source.and_then(|source| pages.sources.get_mut(&source))
            && group.len() >= self.bounds.per_source
        {
            let gone = group.displace().ok_or(Ended::SourceLimit)?;
            pages.remove(gone, source);
            self.counts.ended(Ended::Displaced);
        }
        if pages.strangers.len() + pages.proxies.len() >= self.bounds.all {
            // A proxy serves many callers, so its connections give way last.
            let gone = pages.strangers.displace_entry().or_else(|| pages.proxies.displace_entry());
            let (gone, source) = gone.ok_or(Ended::Limit)?;
            pages.remove(gone, source);
            self.counts.ended(Ended::Displaced);
        }
        pages.last += 1;
        let id = pages.last;
        for group in pages.groups(source) {
            group.silent.insert(id, entry.clone());
        }
        drop(pages);
        self.counts.opened();
        Ok(Place { book: self.clone(), id, source, watch })
    }

    /// Lets every connection finish its running requests and end.
    pub(super) fn finish(&self) {
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        for group in [&pages.strangers, &pages.proxies] {
            for entry in group.silent.values().chain(group.asked.values()) {
                entry.watch.finish();
            }
        }
    }
}

impl Place {
    /// Records the first request of the connection.
    pub(super) fn asked(&self) {
        let mut pages = self.book.pages.lock().unwrap_or_else(PoisonError::into_inner);
        for group in pages.groups(self.source) {
            if let Some(entry) = group.silent.remove(&self.id) {
                group.asked.insert(self.id, entry);
            }
        }
    }

    /// Counts an HTTP/2 request until it is dropped; `None` if too many are running. Another connection costs a client
    /// a connection, another request only about a hundred bytes.
    pub(super) fn run(self: &Arc<Self>) -> Option<RunningRequest> {
        let mut running = self.book.running.lock().unwrap_or_else(PoisonError::into_inner);
        let own = running.of.get(&self.source).copied().unwrap_or_default();
        if running.all >= MAX_RUNNING || self.source.is_some() && own >= MAX_RUNNING_OF_SOURCE {
            return None;
        }
        running.all += 1;
        running.of.insert(self.source, own + 1);
        Some(RunningRequest(self.clone()))
    }

    /// Counts how the connection ended.
    pub(super) fn ended(&self, reason: Ended) {
        self.book.counts.ended(reason);
    }
}

/// A running HTTP/2 request.
pub(super) struct RunningRequest(Arc<Place>);

impl Drop for RunningRequest {
    fn drop(&mut self) {
        let Place { book, source, .. } = &*self.0;
        let mut running = book.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.all -= 1;
        if let Some(own) = running.of.get_mut(source) {
            *own -= 1;
            if *own == 0 {
                running.of.remove(source);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.book.pages.lock().unwrap_or_else(PoisonError::into_inner).remove(self.id, self.source);
        self.book.counts.closed();
    }
}

impl Pages {
    /// Returns the groups of a connection of this source.
    fn groups(&mut self, source: Option<IpAddr>) -> impl Iterator<Item = &mut Group> {
        let (all, own) = match source {
            None => (&mut self.proxies, None),
            Some(source) => (&mut self.strangers, Some(self.sources.entry(source).or_default())),
        };
        std::iter::once(all).chain(own)
    }

    fn remove(&mut self, id: u64, source: Option<IpAddr>) {
        for group in self.groups(source) {
            group.silent.remove(&id);
            group.asked.remove(&id);
        }
        if let Some(source) = source
            && self.sources.get(&source).is_some_and(|group| group.len() == 0)
        {
            self.sources.remove(&source);
        }
    }
}

impl Group {
    fn len(&self) -> usize {
        self.silent.len() + self.asked.len()
    }

    fn displace(&mut self) -> Option<u64> {
        self.displace_entry().map(|(id, _)| id)
    }

    /// Ends the oldest connection without a request, or else a long idle one. Returns which one.
    fn displace_entry(&mut self) -> Option<(u64, Option<IpAddr>)> {
        if let Some((id, entry)) = self.silent.iter().find(|(_, entry)| entry.watch.give_way()) {
            return Some((*id, entry.source));
        }
        let from_cursor = self.asked.range(self.cursor..).chain(self.asked.range(..self.cursor));
        let sample: Vec<_> = from_cursor.take(SAMPLE).collect();
        self.cursor = sample.last().map_or(0, |(id, _)| **id + 1);
        let idle = sample.into_iter().filter_map(|(id, entry)| {
            entry.watch.with(|life| life.idle_since()).map(|since| (since, id, entry))
        });
        let (_, id, entry) = idle.min_by_key(|(since, ..)| *since)?;
        entry.watch.give_way().then_some((*id, entry.source))
    }
}

/// Returns the source that a limit applies to: an IPv4 address, or an IPv6 /64, which belongs to one host.
fn source_of(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => peer,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connections::life::Order;

    fn book(all: usize, per_source: usize) -> Arc<Book> {
        let proxies = TrustedProxies(vec!["10.0.0.0/8".parse().unwrap()]);
        Arc::new(Book::new(Bounds { all, per_source }, proxies, Connections::default()))
    }

    impl Book {
        fn connect(self: &Arc<Self>, peer: &str) -> Result<Place, Ended> {
            self.admit(peer.parse().unwrap(), Instant::now())
        }
    }

    fn ask(place: &Place) -> u64 {
        let (answer, is_first) = place.watch.with(|life| life.begin(false, Instant::now()));
        if is_first {
            place.asked();
        }
        answer
    }

    fn gave_way(place: &Place) -> bool {
        place.watch.with(|life| life.order) == Some(Order::GiveWay)
    }

    #[test]
    fn the_oldest_connection_without_a_request_gives_way_to_its_source() {
        let book = book(10, 3);
        let places: Vec<_> = (0..3).map(|_| book.connect("192.0.2.1").unwrap()).collect();
        ask(&places[0]);
        let new = book.connect("192.0.2.1").unwrap();
        assert_eq!(places.iter().map(gave_way).collect::<Vec<_>>(), [false, true, false]);
        assert!(!gave_way(&new));
    }

    #[test]
    fn running_requests_are_bounded_for_each_source_and_in_all() {
        let book = book(100, 10);
        let run =
            |place: &Arc<Place>, most: usize| -> Vec<_> { (0..most).map_while(|_| place.run()).collect() };
        let stranger = Arc::new(book.connect("192.0.2.1").unwrap());
        let mut held = run(&stranger, 2 * MAX_RUNNING_OF_SOURCE);
        assert_eq!(held.len(), MAX_RUNNING_OF_SOURCE);
        assert!(
            Arc::new(book.connect("192.0.2.1").unwrap()).run().is_none(),
            "another connection of the source"
        );
        let proxy = Arc::new(book.connect("10.0.0.1").unwrap());
        let proxied = run(&proxy, MAX_RUNNING + 1);
        assert_eq!(proxied.len(), MAX_RUNNING - MAX_RUNNING_OF_SOURCE);
        assert!(Arc::new(book.connect("192.0.2.2").unwrap()).run().is_none(), "all are taken");
        held.pop();
        assert!(stranger.run().is_some());
        drop((held, proxied));
        let running = book.running.lock().unwrap();
        assert!(running.all == 0 && running.of.is_empty());
    }

    #[test]
    fn a_source_whose_connections_all_answer_is_refused_alone() {
        let book = book(10, 2);
        let busy: Vec<_> = (0..2).map(|_| book.connect("192.0.2.1").unwrap()).collect();
        let answers: Vec<_> = busy.iter().map(ask).collect();
        assert_eq!(book.connect("192.0.2.1").err(), Some(Ended::SourceLimit));
        assert_eq!(book.connect("::ffff:192.0.2.1").err(), Some(Ended::SourceLimit), "the same address");
        assert!(book.connect("192.0.2.2").is_ok());
        busy[1].watch.with(|life| life.end(answers[1], Instant::now()));
        let new = book.connect("192.0.2.1").unwrap();
        assert_eq!((gave_way(&busy[0]), gave_way(&busy[1])), (false, true), "the idle one gives way");
        assert!(!gave_way(&new));
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let book = book(10, 1);
        let first = book.connect("2001:db8:0:1::1").unwrap();
        ask(&first);
        assert_eq!(book.connect("2001:db8:0:1:ffff::2").err(), Some(Ended::SourceLimit));
        assert!(book.connect("2001:db8:0:2::1").is_ok());
    }

    #[test]
    fn a_declared_proxy_is_bound_by_the_total_alone() {
        let book = book(4, 1);
        let proxied: Vec<_> = (0..3).map(|_| book.connect("10.0.0.1").unwrap()).collect();
        let direct = book.connect("192.0.2.1").unwrap();
        let fifth = book.connect("10.0.0.1").unwrap();
        assert!(gave_way(&direct), "the proxy's connections give way last");
        assert!(proxied.iter().chain([&fifth]).all(|place| !gave_way(place)));
        proxied.iter().chain([&fifth]).for_each(|place| assert!(ask(place) > 0));
        assert_eq!(book.connect("192.0.2.2").err(), Some(Ended::Limit));
    }

    #[test]
    fn a_place_that_is_left_is_free() {
        let book = book(2, 2);
        let busy: Vec<_> = (0..2).map(|_| book.connect("192.0.2.1").unwrap()).collect();
        busy.iter().for_each(|place| assert!(ask(place) > 0));
        assert!(book.connect("192.0.2.2").is_err());
        drop(busy);
        assert!(book.connect("192.0.2.2").is_ok());
        assert!(book.pages.lock().unwrap().sources.is_empty(), "nothing is kept of who has left");
    }

    #[test]
    fn an_idle_connection_is_found_among_many() {
        let book = book(300, 300);
        let places: Vec<_> = (0..300).map(|_| book.connect("192.0.2.1").unwrap()).collect();
        let answers: Vec<_> = places.iter().map(ask).collect();
        places[250].watch.with(|life| life.end(answers[250], Instant::now()));
        let new: Vec<_> = (0..10)
            .filter_map(|_| book.connect("192.0.2.1").ok().inspect(|it| assert!(ask(it) > 0)))
            .collect();
        assert_eq!((new.len(), gave_way(&places[250])), (1, true));
    }
}
