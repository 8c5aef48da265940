//! A pool of connections that are opened early, kept, and lent for one transaction at a time.
//!
//! A connection goes back to the pool only after its transaction has ended cleanly. Otherwise it is discarded, so that
//! SQLite drops a transaction that is still open, and PostgreSQL ends the session.

use super::{
    StoreError,
    fault::{Fault, describe},
    lent::{Lent, ROLLBACK_WITHIN},
};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout, timeout_at},
};

/// Purpose of a transaction. Each purpose has its own turns, so a flood of one never delays another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Changes something.
    Change,
    /// Reads for a request or a background job.
    Read,
    /// Looks up credentials of an unknown caller: a token, a session, a link, an account.
    LookUp,
    /// Reads the change log into this node's tables.
    Feed,
    /// Reads whether this node is ready.
    Readiness,
}

impl Purpose {
    const ALL: [Self; 5] = [Self::Change, Self::Read, Self::LookUp, Self::Feed, Self::Readiness];

    /// Returns the longest wait of a transaction for its turn and for a connection.
    fn longest_wait(self) -> Duration {
        match self {
            Self::Readiness => Duration::from_secs(2),
            Self::Change | Self::Read | Self::LookUp | Self::Feed => Duration::from_secs(5),
        }
    }

    fn changes(self) -> bool {
        self == Self::Change
    }

    /// Whether it takes precedence over reads for requests, because this process enforces no change without it.
    fn is_urgent(self) -> bool {
        self != Self::Read
    }
}

/// Pause after an attempt to open a connection has failed.
const REOPEN_PAUSE: Duration = Duration::from_millis(200);

/// How long reads wait until the connections for changes are open again, and closing waits for one that is being opened.
const OPENED_WITHIN: Duration = Duration::from_secs(5);
/// How long reads give way to changes for which the server had no connection.
const GIVES_WAY_FOR: Duration = Duration::from_secs(2);

/// One connection of an engine.
pub(super) trait Link: Send + Sized + 'static {
    /// What is needed to open a connection.
    type Opener: Send + Sync + 'static;
    /// Number of connections for changes, of which one is in use at a time.
    const FOR_CHANGES: usize;
    /// Maximum number of simultaneous read transactions.
    const READS: usize;
    /// Time limits for the engine's answer to a BEGIN and to a COMMIT; `None` if only the engine's own limits apply.
    const ANSWERS: Option<(Duration, Duration)>;

    /// Opens a connection and sets it up. The only place that connects to either engine for transactions.
    fn open(opener: &Self::Opener) -> impl Future<Output = Result<Self, StoreError>> + Send;
    /// Whether it leads to the server that is served now.
    fn is_current(&self) -> bool;
    /// Returns what is needed to open a connection that is not shared by transactions of others; `None` if none is.
    fn past_pooler(opener: &Self::Opener) -> Option<Self::Opener>;
    /// Returns the statements that begin a transaction on this connection.
    fn begin(&self, purpose: Purpose) -> &'static str;
    /// Runs statements without arguments and without rows.
    fn run(&mut self, sql: &'static str) -> impl Future<Output = Result<(), sqlx::Error>> + Send;
    /// Closes the connection in an orderly way.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// The connections of one database, by purpose.
pub(super) struct Pools<L: Link> {
    changes: Pool<L>,
    reads: Pool<L>,
    turns: [Arc<Semaphore>; Purpose::ALL.len()],
}

impl<L: Link> Pools<L> {
    pub(super) fn new(changes: L::Opener, reads: L::Opener) -> Self {
        let turns = Purpose::ALL.map(|purpose| Arc::new(Semaphore::new(turns_of::<L>(purpose))));
        let reads_at_once =
            Purpose::ALL.into_iter().filter(|purpose| !purpose.changes()).map(turns_of::<L>).sum();
        let reads = Pool::new(reads, reads_at_once, None);
        let changes = Pool::new(changes, L::FOR_CHANGES, Some(reads.shared.clone()));
        Self { changes, reads, turns }
    }

    /// Adds a connection that was opened elsewhere, for changes.
    pub(super) fn keep(&self, link: L) {
        self.changes.shared.state().there += 1;
        self.changes.shared.give_back(link);
    }

    /// Begins a transaction.
    pub(super) async fn begin(&self, purpose: Purpose) -> Result<Lent<L>, StoreError> {
        let deadline = Instant::now() + purpose.longest_wait();
        let turn = self.turn(purpose, deadline).await?;
        let pool = self.pool(purpose);
        loop {
            let taken = pool.take(deadline, purpose.is_urgent()).await?;
            if !taken.link.is_current() {
                // Thrown away: after a failover it may still lead to the server before.
                drop(Lent::new(pool.shared.clone(), taken.link));
                continue;
            }
            let (kept, sql) = (taken.kept, taken.link.begin(purpose));
            let mut lent = Lent::new(pool.shared.clone(), taken.link);
            match lent.begin(sql, L::ANSWERS.map(|(begin, _)| begin)).await {
                Ok(()) => return Ok(lent.with_turn(turn)),
                // The server has ended an unused connection. No statement was sent on it yet.
                Err(error) if kept && Fault::of(&error) == Fault::Unreachable => {
                    if is_time_out(&error) {
                        // What swallowed this connection has most likely swallowed the others too.
                        drop(pool.shared.take_kept());
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Lends a connection without a transaction. Behind a pooler of transactions it is opened past the pooler, and is closed
    /// afterwards.
    pub(super) async fn lend(&self, purpose: Purpose) -> Result<Lent<L>, StoreError> {
        let pool = self.pool(purpose);
        if let Some(opener) = L::past_pooler(&pool.shared.opener) {
            let link = L::open(&opener).await?;
            pool.shared.state().there += 1;
            return Ok(Lent::new(pool.shared.clone(), link));
        }
        // A BEGIN is how a connection that was kept is found to be alive.
        let mut lent = self.begin(purpose).await?;
        lent.end("ROLLBACK", L::ANSWERS.map(|(begin, _)| begin)).await?;
        Ok(lent)
    }

    /// Opens every connection that this process can use. Returns how many there are, and how many there should be.
    pub(super) async fn open_all(&self) -> (usize, usize) {
        let mut opened = 0;
        for pool in [&self.changes, &self.reads] {
            opened += pool.open_all().await;
        }
        (opened, self.changes.shared.most + self.reads.shared.most)
    }

    /// Reserves the server's connections for urgent purposes: reads for requests get none, and theirs are closed.
    pub(super) fn hold_reads_back(&self) {
        self.reads.shared.state().is_held_back = true;
        drop(self.reads.shared.take_kept());
    }

    /// Closes every unused connection.
    pub(super) fn close_idle(&self) {
        for pool in [&self.changes, &self.reads] {
            drop(pool.shared.take_kept());
        }
    }

    /// Opens the connections for changes, then allows connections for reads again.
    pub(super) async fn let_reads_go_on(&self) {
        if self.reads.shared.state().is_held_back {
            let _ = timeout(OPENED_WITHIN, self.changes.open_all()).await;
            self.reads.shared.state().is_held_back = false;
            self.reads.shared.changed.notify_waiters();
        }
    }

    /// Closes every connection, those for reads first, because the last connection that can write to a SQLite file
    /// folds its log into the file.
    pub(super) async fn close(&self) {
        for pool in [&self.reads, &self.changes] {
            pool.shut();
        }
        for (purpose, turns) in Purpose::ALL.into_iter().zip(&self.turns) {
            // A running transaction keeps its turn until it has ended.
            let all = u32::try_from(turns_of::<L>(purpose)).unwrap_or(u32::MAX);
            let _all = timeout(2 * ROLLBACK_WITHIN, turns.acquire_many(all)).await;
            turns.close();
        }
        for pool in [&self.reads, &self.changes] {
            pool.close_all().await;
        }
    }

    async fn turn(&self, purpose: Purpose, deadline: Instant) -> Result<OwnedSemaphorePermit, StoreError> {
        let turns = self.turns[purpose as usize].clone();
        match timeout_at(deadline, turns.acquire_owned()).await {
            Ok(turn) => turn.map_err(|_| closed()),
            Err(_) if purpose.changes() => Err(StoreError::Busy("other changes did not finish within 5 s")),
            Err(_) => Err(StoreError::Busy("other reads did not finish in time")),
        }
    }

    fn pool(&self, purpose: Purpose) -> &Pool<L> {
        if purpose.changes() { &self.changes } else { &self.reads }
    }
}

/// Returns the maximum number of simultaneous transactions of this purpose. All changes of this process wait for one
/// turn, in order, so a waiting change occupies no connection.
fn turns_of<L: Link>(purpose: Purpose) -> usize {
    match purpose {
        // One that waits for the lock behind another of this process would wait for both.
        Purpose::Change | Purpose::LookUp | Purpose::Feed | Purpose::Readiness => 1,
        Purpose::Read => L::READS,
    }
}

pub(super) fn closed() -> StoreError {
    StoreError::Database(sqlx::Error::PoolClosed)
}

/// Returns the error for an engine that does not answer in time.
pub(super) fn timed_out(limit: Duration) -> sqlx::Error {
    let text = format!("no response within {} s", limit.as_secs());
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, text))
}

fn is_time_out(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut)
}

/// Connections of one kind.
struct Pool<L: Link> {
    shared: Arc<Shared<L>>,
}

pub(super) struct Shared<L: Link> {
    opener: L::Opener,
    most: usize,
    /// Pool that closes its unused connections while the server has none for this pool.
    yielding: Option<Arc<Shared<L>>>,
    state: Mutex<State<L>>,
    /// Notified when a connection was returned, opened or discarded, or could not be opened.
    changed: Notify,
}

struct State<L> {
    kept: Vec<L>,
    /// Number of connections that are kept, lent or being opened.
    there: usize,
    is_opening: bool,
    is_closed: bool,
    /// Number of waiting urgent callers.
    urgent: usize,
    /// Whether only urgent callers get a connection.
    is_held_back: bool,
    /// Until when the pool gives way because the server has no connection for changes.
    gives_way_until: Option<Instant>,
    /// Number of failed attempts to open a connection.
    attempts: u64,
    failure: Option<Failure>,
}

#[derive(Clone)]
struct Failure {
    fault: Fault,
    cause: String,
    /// Whether the next attempt can succeed without any intervention.
    is_passing: bool,
    /// Whether the connection led to another database, so that waiting for another one is pointless.
    is_elsewhere: bool,
}

struct Taken<L> {
    link: L,
    /// Whether the connection was kept from earlier, so the server may have ended it since then.
    kept: bool,
}

enum Next<L> {
    Take(L),
    Open,
    Wait,
    /// Waits until others no longer need a connection, at the latest until this time.
    GiveWay(Instant),
}

/// An urgent caller waiting for a connection.
struct Urgent<'a, L: Link>(&'a Shared<L>);

impl<'a, L: Link> Urgent<'a, L> {
    fn new(shared: &'a Shared<L>) -> Self {
        shared.state().urgent += 1;
        Self(shared)
    }
}

impl<L: Link> Drop for Urgent<'_, L> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.urgent = state.urgent.saturating_sub(1);
        drop(state);
        self.0.changed.notify_waiters();
    }
}

impl<L> State<L> {
    fn gives_way(&self) -> bool {
        self.is_held_back || self.gives_way_until.is_some_and(|until| Instant::now() < until)
    }
}

impl<L: Link> Pool<L> {
    fn new(opener: L::Opener, most: usize, yielding: Option<Arc<Shared<L>>>) -> Self {
        let state = State {
            kept: Vec::with_capacity(most),
            there: 0,
            is_opening: false,
            is_closed: false,
            urgent: 0,
            is_held_back: false,
            gives_way_until: None,
            attempts: 0,
            failure: None,
        };
        let (state, changed) = (Mutex::new(state), Notify::new());
        Self { shared: Arc::new(Shared { opener, most, yielding, state, changed }) }
    }

    /// Takes a kept connection, or the first one that is returned or opened.
    async fn take(&self, deadline: Instant, is_urgent: bool) -> Result<Taken<L>, StoreError> {
        let began = self.shared.state().attempts;
        let _urgent = is_urgent.then(|| Urgent::new(&self.shared));
        let mut kept = true;
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            // Enrolled before the look: what happens between the two still wakes this one.
            changed.as_mut().enable();
            let mut until = deadline;
            match self.shared.next(began, is_urgent)? {
                Next::Take(link) => return Ok(Taken { link, kept }),
                Next::Open => {
                    self.open_one();
                    kept = false;
                }
                Next::Wait => {}
                Next::GiveWay(way) => until = deadline.min(way),
            }
            if timeout_at(until, changed).await.is_err() && until == deadline {
                return Err(self.shared.why_none());
            }
        }
    }

    /// Opens a connection in a separate task, so that a caller that disconnects leaves no half-open connection behind,
    /// and a waiting caller takes the first available one, new or returned.
    fn open_one(&self) {
        let shared = self.shared.clone();
        #[expect(clippy::disallowed_methods, reason = "opening must finish even when its caller is dropped")]
        tokio::spawn(async move {
            let opened = L::open(&shared.opener).await;
            if opened.is_err() {
                tokio::time::sleep(REOPEN_PAUSE).await;
            }
            shared.opened(opened);
        });
    }

    async fn open_all(&self) -> usize {
        let began = self.shared.state().attempts;
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut state = self.shared.state();
                if state.attempts > began || state.there >= self.shared.most && !state.is_opening {
                    return state.there;
                }
                if !state.is_opening {
                    (state.is_opening, state.there) = (true, state.there + 1);
                    self.open_one();
                }
            }
            changed.await;
        }
    }

    fn shut(&self) {
        self.shared.state().is_closed = true;
        self.shared.changed.notify_waiters();
    }

    /// Closes every connection of a pool that was shut, and waits a while for those that are still being opened or lent.
    async fn close_all(&self) {
        let deadline = Instant::now() + OPENED_WITHIN;
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            for link in self.shared.take_kept() {
                link.close().await;
            }
            if self.shared.state().there == 0 || timeout_at(deadline, changed).await.is_err() {
                return;
            }
        }
    }
}

impl<L: Link> Shared<L> {
    fn state(&self) -> MutexGuard<'_, State<L>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self, began: u64, is_urgent: bool) -> Result<Next<L>, StoreError> {
        let mut state = self.state();
        if state.is_closed {
            return Err(closed());
        }
        if !is_urgent {
            if state.gives_way() {
                return Ok(state
                    .gives_way_until
                    .filter(|_| !state.is_held_back)
                    .map_or(Next::Wait, Next::GiveWay));
            }
            if state.kept.len() <= state.urgent && state.urgent > 0 {
                return Ok(Next::Wait);
            }
        }
        // The one used last: its prepared statements are warm, and it was alive a moment ago.
        if let Some(link) = state.kept.pop() {
            return Ok(Next::Take(link));
        }
        if let Some(failure) = &state.failure
            && state.attempts > began
            && (failure.is_elsewhere || !failure.is_passing && state.there == 0)
        {
            return Err(failure.clone().into());
        }
        if state.is_opening || state.there >= self.most {
            return Ok(Next::Wait);
        }
        (state.is_opening, state.there) = (true, state.there + 1);
        Ok(Next::Open)
    }

    fn opened(&self, opened: Result<L, StoreError>) {
        let mut state = self.state();
        state.is_opening = false;
        match opened {
            // Also if the pool was shut while it was being opened: closing takes it from here.
            Ok(link) => {
                state.kept.push(link);
                state.failure = None;
                if let Some(others) = &self.yielding {
                    others.go_on();
                }
            }
            Err(error) => {
                state.there = state.there.saturating_sub(1);
                state.attempts += 1;
                let failure = Failure::of(&error);
                if let Some(others) = &self.yielding
                    && failure.fault == Fault::Busy
                    && state.there == 0
                {
                    others.give_way();
                }
                state.failure = Some(failure);
            }
        }
        drop(state);
        self.changed.notify_waiters();
    }

    pub(super) fn give_back(&self, link: L) {
        let mut state = self.state();
        if state.gives_way() && state.urgent == 0 {
            drop(state);
            drop(link);
            return self.lost_one();
        }
        // Also if the pool was shut.
        state.kept.push(link);
        drop(state);
        self.changed.notify_waiters();
    }

    /// Closes unused connections, and for a while opens only urgent ones.
    fn give_way(&self) {
        self.state().gives_way_until = Some(Instant::now() + GIVES_WAY_FOR);
        drop(self.take_kept());
    }

    fn go_on(&self) {
        if self.state().gives_way_until.take().is_some() {
            self.changed.notify_waiters();
        }
    }

    pub(super) fn take_kept(&self) -> Vec<L> {
        let mut state = self.state();
        let kept = std::mem::take(&mut state.kept);
        state.there = state.there.saturating_sub(kept.len());
        kept
    }

    pub(super) fn lost_one(&self) {
        let mut state = self.state();
        state.there = state.there.saturating_sub(1);
        drop(state);
        self.changed.notify_waiters();
    }

    fn why_none(&self) -> StoreError {
        match &self.state().failure {
            Some(failure) => failure.clone().into(),
            None => StoreError::Busy("no connection was free in time"),
        }
    }
}

impl Failure {
    fn of(error: &StoreError) -> Self {
        let fault = error.fault();
        let is_elsewhere = matches!(error, StoreError::Elsewhere(_));
        let is_passing = matches!(fault, Fault::Busy | Fault::Unreachable);
        Self { fault, cause: cause_of(error), is_passing, is_elsewhere }
    }
}

/// Returns only the cause of a failure to connect.
pub(super) fn cause_of(error: &StoreError) -> String {
    match error {
        StoreError::Database(inner) => describe(inner),
        StoreError::NoConnection { cause, .. } => cause.clone(),
        other => other.to_string(),
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure.is_elsewhere {
            true => Self::Elsewhere(failure.cause),
            false => Self::NoConnection { fault: failure.fault, cause: failure.cause },
        }
    }
}

#[cfg(test)]
mod tests;
