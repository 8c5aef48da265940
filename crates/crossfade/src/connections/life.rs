//! The state of one connection: what it is waiting for, and when that has taken too long.

use crossfade_web::Ended;
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};

/// Timeouts of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Timeout for the headers of a request, from the accept or from the first byte after a response.
    pub(crate) headers: Duration,
    /// Timeout for the next request after a complete response.
    pub(crate) idle: Duration,
    /// Timeout for a client to read bytes of a response.
    pub(crate) stalled: Duration,
    /// Timeout for a client to disconnect after it was told that no further requests are answered.
    pub(crate) farewell: Duration,
}

/// Maximum number of unread response bytes before the next request of the connection is started.
const UNREAD_BYTES: usize = 1024 * 1024;
/// Number of bytes that count as progress. Fewer count only if they are the rest.
const PROGRESS_BYTES: usize = 1024;
/// Interval for examining a running connection: other tasks wait for its windows and do not wake it.
const EXAMINE_EVERY: Duration = Duration::from_secs(5);

/// A request to a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    /// Finish the running requests, or the first one, which may be on its way, and start no other.
    Finish,
    /// End now: another connection takes the place.
    GiveWay,
}

/// The outcome of an examination.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Nothing is overdue; examine again at this time.
    Wait(Instant),
    /// Finish in an orderly way, for this reason; `None` if it was ordered.
    Finish(Option<Ended>),
    /// End now, for this reason; `None` after a farewell.
    End(Option<Ended>),
}

/// State of a connection, shared by its task, its responses and the book.
pub(super) struct Watch {
    life: Mutex<Life>,
    /// Notified when a request to the connection was made.
    pub(super) ordered: Notify,
    /// Notified when unread bytes were read.
    taken: Notify,
}

impl Watch {
    pub(super) fn new(now: Instant) -> Self {
        Self { life: Mutex::new(Life::new(now)), ordered: Notify::new(), taken: Notify::new() }
    }

    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Life) -> T) -> T {
        act(&mut self.life.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes that the task of the connection runs, and returns the time.
    pub(super) fn run(&self) -> Instant {
        let now = Instant::now();
        self.with(|life| life.ran_at = now);
        now
    }

    /// Ends the connection if it is answering nothing. Returns whether it ends.
    pub(super) fn give_way(&self) -> bool {
        let gives_way = self.with(|life| {
            let gives_way = life.answers.is_empty();
            if gives_way {
                life.order = Some(Order::GiveWay);
            }
            gives_way
        });
        if gives_way {
            self.ordered.notify_one();
        }
        gives_way
    }

    /// Returns once the connection was told to give way.
    pub(super) async fn gives_way(&self) {
        while self.with(|life| life.order) != Some(Order::GiveWay) {
            self.ordered.notified().await;
        }
    }

    /// Lets the running requests end.
    pub(super) fn finish(&self) {
        self.with(|life| {
            life.order.get_or_insert(Order::Finish);
        });
        self.ordered.notify_one();
    }

    /// Records that bytes of a response were read, or dropped with the response.
    pub(super) fn take(&self, answer: u64, bytes: usize) {
        let has_room = self.with(|life| {
            life.take(answer, bytes, life.now());
            life.has_room()
        });
        if has_room {
            self.taken.notify_waiters();
        }
    }

    /// Waits until few enough bytes are unread.
    pub(super) async fn room(&self) {
        loop {
            let taken = self.taken.notified();
            tokio::pin!(taken);
            taken.as_mut().enable();
            if self.with(|life| life.has_room()) {
                return;
            }
            taken.await;
        }
    }
}

/// The state of a connection. Time is an argument.
pub(super) struct Life {
    /// When the task of the connection last began to run.
    ran_at: Instant,
    /// When it was accepted, or when its last response was complete.
    quiet_since: Instant,
    /// When the first bytes of an incomplete request arrived.
    heard_at: Option<Instant>,
    has_asked: bool,
    /// Whether requests share the connection (HTTP/2). Then arriving bytes do not show that a request begins.
    is_multiplexed: bool,
    /// When the socket stopped taking bytes.
    blocked_since: Option<Instant>,
    answers: Vec<Answer>,
    next_answer: u64,
    finishing_since: Option<Instant>,
    pub(super) order: Option<Order>,
    /// Whether the connection ends because its client reads nothing.
    pub(super) is_stalled: bool,
}

/// A response, from the completion of its request until its last byte is written.
struct Answer {
    id: u64,
    unread: usize,
    taken: usize,
    progress_at: Instant,
}

impl Life {
    fn new(now: Instant) -> Self {
        Self {
            ran_at: now,
            quiet_since: now,
            heard_at: None,
            has_asked: false,
            is_multiplexed: false,
            blocked_since: None,
            answers: Vec::new(),
            next_answer: 0,
            finishing_since: None,
            order: None,
            is_stalled: false,
        }
    }

    /// Returns the time of what happens on the connection. All that happens on one with HTTP/1 happens while its task
    /// runs, so the clock is read once a run. Streams of HTTP/2 have tasks of their own.
    pub(super) fn now(&self) -> Instant {
        if self.is_multiplexed { Instant::now() } else { self.ran_at }
    }

    /// Records that bytes arrived.
    pub(super) fn hear(&mut self, now: Instant) {
        if self.has_asked && !self.is_multiplexed && self.answers.is_empty() {
            self.heard_at.get_or_insert(now);
        }
    }

    /// Records a complete request. Returns the ID of its response, and whether it is the connection's first.
    pub(super) fn begin(&mut self, is_multiplexed: bool, now: Instant) -> (u64, bool) {
        let is_first = !std::mem::replace(&mut self.has_asked, true);
        self.is_multiplexed = is_multiplexed;
        self.heard_at = None;
        self.next_answer += 1;
        self.answers.push(Answer { id: self.next_answer, unread: 0, taken: 0, progress_at: now });
        (self.next_answer, is_first)
    }

    /// Records that bytes of a response are waiting to be read.
    pub(super) fn offer(&mut self, answer: u64, bytes: usize, now: Instant) {
        let Some(answer) = self.answers.iter_mut().find(|it| it.id == answer) else { return };
        if answer.unread == 0 {
            (answer.taken, answer.progress_at) = (0, now);
        }
        answer.unread += bytes;
    }

    fn take(&mut self, answer: u64, bytes: usize, now: Instant) {
        let Some(answer) = self.answers.iter_mut().find(|it| it.id == answer) else { return };
        answer.unread = answer.unread.saturating_sub(bytes);
        answer.taken += bytes;
        // A client that takes a byte now and then would otherwise hold its connection for ever.
        if answer.unread == 0 || answer.taken >= PROGRESS_BYTES {
            (answer.taken, answer.progress_at) = (0, now);
        }
    }

    /// Records that a response is complete or abandoned.
    pub(super) fn end(&mut self, answer: u64, now: Instant) {
        self.answers.retain(|it| it.id != answer);
        if self.answers.is_empty() {
            self.quiet_since = now;
        }
    }

    /// Records that the socket accepts no bytes.
    pub(super) fn block(&mut self, now: Instant) {
        self.blocked_since.get_or_insert(now);
    }

    /// Records that the socket accepted bytes.
    pub(super) fn unblock(&mut self) {
        self.blocked_since = None;
    }

    /// Records that the connection was told to finish.
    pub(super) fn start_farewell(&mut self, now: Instant) {
        self.finishing_since.get_or_insert(now);
    }

    /// Returns the time since the last request; `None` while a request is being answered.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        self.answers.is_empty().then_some(self.quiet_since)
    }

    fn has_room(&self) -> bool {
        self.answers.iter().map(|answer| answer.unread).sum::<usize>() < UNREAD_BYTES
    }

    /// Decides whether the connection continues.
    pub(super) fn examine(&self, limits: &Limits, now: Instant) -> Verdict {
        let mut next = now + EXAMINE_EVERY;
        let unread = self.answers.iter().filter(|answer| answer.unread > 0);
        let stalled = unread.map(|answer| answer.progress_at).chain(self.blocked_since).min();
        if let Some(since) = stalled {
            if now >= since + limits.stalled {
                return Verdict::End(Some(Ended::Stalled));
            }
            next = next.min(since + limits.stalled);
        }
        let must_finish = self.order == Some(Order::Finish) && self.finishing_since.is_none();
        if must_finish && self.has_asked {
            return Verdict::Finish(None);
        }
        if !self.answers.is_empty() {
            return Verdict::Wait(next);
        }
        let (until, then) = match (self.finishing_since, self.heard_at) {
            (Some(since), _) => (since.max(self.quiet_since) + limits.farewell, Verdict::End(None)),
            (None, _) if must_finish => (self.quiet_since + limits.farewell, Verdict::Finish(None)),
            (None, None) if self.has_asked => {
                (self.quiet_since + limits.idle, Verdict::Finish(Some(Ended::Idle)))
            }
            (None, heard_at) => {
                (heard_at.unwrap_or(self.quiet_since) + limits.headers, Verdict::End(Some(Ended::Headers)))
            }
        };
        let next = if stalled.is_some() { next.min(until) } else { until };
        if now >= until { then } else { Verdict::Wait(next) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        headers: Duration::from_secs(10),
        idle: Duration::from_secs(75),
        stalled: Duration::from_secs(30),
        farewell: Duration::from_secs(2),
    };

    /// Returns a connection, and a function for the time a number of seconds after its accept.
    fn accepted() -> (Life, impl Fn(u64) -> Instant) {
        let begun = Instant::now();
        (Life::new(begun), move |seconds| begun + Duration::from_secs(seconds))
    }

    #[test]
    fn a_connection_without_a_request_ends_with_the_time_for_headers() {
        let (mut life, at) = accepted();
        life.hear(at(5));
        assert_eq!(life.examine(&LIMITS, at(9)), Verdict::Wait(at(10)), "bytes do not lengthen it");
        assert_eq!(life.examine(&LIMITS, at(10)), Verdict::End(Some(Ended::Headers)));
    }

    #[test]
    fn a_kept_connection_is_idle_for_longer_than_headers_take() {
        let (mut life, at) = accepted();
        let (answer, is_first) = life.begin(false, at(1));
        assert!(is_first && life.idle_since().is_none());
        life.end(answer, at(2));
        assert_eq!(life.examine(&LIMITS, at(40)), Verdict::Wait(at(77)));
        assert_eq!(life.examine(&LIMITS, at(77)), Verdict::Finish(Some(Ended::Idle)));
        life.start_farewell(at(77));
        assert_eq!(life.examine(&LIMITS, at(78)), Verdict::Wait(at(79)));
        assert_eq!(life.examine(&LIMITS, at(79)), Verdict::End(None));
        let (_, is_first) = life.begin(false, at(79));
        assert!(!is_first);
    }

    #[test]
    fn a_new_connection_that_must_finish_still_has_its_first_request() {
        let finishing = |mut life: Life| {
            life.order = Some(Order::Finish);
            life
        };
        let (life, at) = accepted();
        let mut life = finishing(life);
        assert_eq!(life.examine(&LIMITS, at(1)), Verdict::Wait(at(2)), "its request may be on its way");
        assert_eq!(life.examine(&LIMITS, at(2)), Verdict::Finish(None));
        let (answer, _) = life.begin(false, at(1));
        assert_eq!(life.examine(&LIMITS, at(1)), Verdict::Finish(None), "its request is the last one");
        life.start_farewell(at(1));
        assert!(matches!(life.examine(&LIMITS, at(2)), Verdict::Wait(_)));
        life.end(answer, at(3));
        assert_eq!(life.examine(&LIMITS, at(4)), Verdict::Wait(at(5)));
        assert_eq!(life.examine(&LIMITS, at(5)), Verdict::End(None));

        let (mut life, at) = accepted();
        let (answer, _) = life.begin(false, at(0));
        life.end(answer, at(0));
        assert_eq!(
            finishing(life).examine(&LIMITS, at(0)),
            Verdict::Finish(None),
            "an idle one ends at once"
        );
    }

    #[test]
    fn slow_headers_end_a_kept_connection() {
        let (mut life, at) = accepted();
        let (answer, _) = life.begin(false, at(0));
        life.hear(at(0));
        life.end(answer, at(0));
        life.hear(at(60));
        life.hear(at(69));
        assert_eq!(life.examine(&LIMITS, at(69)), Verdict::Wait(at(70)));
        assert_eq!(life.examine(&LIMITS, at(70)), Verdict::End(Some(Ended::Headers)));
    }

    #[test]
    fn frames_without_a_request_neither_shorten_nor_lengthen_idleness() {
        let (mut life, at) = accepted();
        let (answer, _) = life.begin(true, at(0));
        life.end(answer, at(0));
        life.hear(at(70));
        assert_eq!(life.examine(&LIMITS, at(74)), Verdict::Wait(at(75)));
        assert_eq!(life.examine(&LIMITS, at(75)), Verdict::Finish(Some(Ended::Idle)));
    }

    #[test]
    fn an_answer_that_nobody_takes_ends_its_connection() {
        let (mut life, at) = accepted();
        let (slow, _) = life.begin(true, at(0));
        // A handler that takes its time is no fault of the client.
        assert_eq!(life.examine(&LIMITS, at(100)), Verdict::Wait(at(105)));
        life.offer(slow, 5_000, at(100));
        assert_eq!(life.examine(&LIMITS, at(129)), Verdict::Wait(at(130)));
        assert_eq!(life.examine(&LIMITS, at(130)), Verdict::End(Some(Ended::Stalled)));
        // Another answer that is read makes up for nothing.
        let (quick, _) = life.begin(true, at(120));
        life.offer(quick, 10, at(120));
        life.take(quick, 10, at(121));
        life.end(quick, at(121));
        assert_eq!(life.examine(&LIMITS, at(130)), Verdict::End(Some(Ended::Stalled)));
        life.take(slow, 1_024, at(125));
        assert_eq!(life.examine(&LIMITS, at(154)), Verdict::Wait(at(155)));
    }

    #[test]
    fn single_bytes_are_progress_only_when_they_are_the_rest() {
        let (mut life, at) = accepted();
        let (answer, _) = life.begin(false, at(0));
        life.offer(answer, 2_000, at(0));
        life.take(answer, 1, at(20));
        assert_eq!(life.examine(&LIMITS, at(30)), Verdict::End(Some(Ended::Stalled)));
        life.take(answer, 1_999, at(29));
        assert!(matches!(life.examine(&LIMITS, at(30)), Verdict::Wait(_)));
    }

    #[test]
    fn a_socket_that_takes_nothing_ends_its_connection() {
        let (mut life, at) = accepted();
        life.begin(false, at(0));
        life.block(at(1));
        life.block(at(20));
        assert_eq!(life.examine(&LIMITS, at(31)), Verdict::End(Some(Ended::Stalled)));
        life.unblock();
        assert!(matches!(life.examine(&LIMITS, at(31)), Verdict::Wait(_)));
    }

    #[test]
    fn a_request_waits_while_too_much_is_unread() {
        let (mut life, at) = accepted();
        let (answer, _) = life.begin(true, at(0));
        life.offer(answer, UNREAD_BYTES, at(0));
        assert!(!life.has_room());
        life.take(answer, 1, at(0));
        assert!(life.has_room());
    }

    #[test]
    fn only_a_connection_that_answers_nothing_gives_way() {
        let watch = Watch::new(Instant::now());
        let (answer, _) = watch.with(|life| life.begin(false, Instant::now()));
        assert!(!watch.give_way());
        watch.with(|life| life.end(answer, Instant::now()));
        assert!(watch.give_way());
        watch.finish();
        assert_eq!(watch.with(|life| life.order), Some(Order::GiveWay), "the stronger order stays");
    }
}
