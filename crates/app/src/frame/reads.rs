//! Limits for costly reads (`Operation::is_costly`), so that many of them do not delay the end of a secret: turns in
//! total and per account, a pace per account, and results that are reused for 1 second.

use crate::{
    error::Error,
    frame::pace::{Pace, Rate},
    node::state::PARALLEL_READERS,
};
use crossfade_core::{Code, Problem, RegistrationId, Timestamp, UserId};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until},
};

/// Maximum number of simultaneous costly reads. They leave readers to all other reads, however slow they are.
const MAX_RUNNING: usize = PARALLEL_READERS - 2;
/// Maximum number of simultaneous costly reads of one account, however many tokens and sessions it has.
const MAX_RUNNING_OF_ACCOUNT: usize = 2;
/// Costly reads that one account begins.
const RATE_OF_ACCOUNT: Rate = Rate { burst: 400, interval: Duration::from_millis(10) };
/// How long a costly read waits for its turn. A refused read also waits this long, because a client that is refused
/// immediately asks again immediately.
const MAX_WAIT: Duration = Duration::from_secs(1);
/// Maximum number of accounts remembered after their last costly read.
const MAX_IDLE_ACCOUNTS: usize = 256;
/// Maximum number of cached results.
const MAX_READINGS: usize = 64;

/// Turns for costly reads.
pub(crate) struct Reads {
    wait: Duration,
    all: Arc<Semaphore>,
    accounts: Mutex<HashMap<UserId, AccountTurns>>,
}

struct AccountTurns {
    running: Arc<Semaphore>,
    pace: Pace,
}

/// Turn of one account. Dropping it lets the next read of the account run.
pub(crate) struct AccountTurn {
    _running: OwnedSemaphorePermit,
}

/// One of the total turns.
pub(crate) struct ReadTurn {
    _running: OwnedSemaphorePermit,
}

impl Default for Reads {
    fn default() -> Self {
        Self::waiting(MAX_WAIT)
    }
}

impl Reads {
    fn waiting(wait: Duration) -> Self {
        Self { wait, all: Arc::new(Semaphore::new(MAX_RUNNING)), accounts: Mutex::default() }
    }

    /// Waits for a turn of this account. Fails if there are too many reads or it takes too long.
    pub(crate) async fn account_turn(&self, user: &UserId) -> Result<AccountTurn, Error> {
        let now = Instant::now();
        let (running, begins_at) = self.with_account(user, now, |account| {
            (account.running.clone(), account.pace.next(RATE_OF_ACCOUNT, now, now + self.wait))
        });
        sleep_until(begins_at.unwrap_or(now + self.wait)).await;
        if begins_at.is_none() {
            return Err(too_many_of_account());
        }
        Ok(AccountTurn { _running: self.within(running, too_many_of_account).await? })
    }

    /// Waits for one of the total turns. Each account has at most its own number of reads in this queue.
    pub(crate) async fn turn(&self) -> Result<ReadTurn, Error> {
        Ok(ReadTurn { _running: self.within(self.all.clone(), too_many).await? })
    }

    /// Waits for the turns of one part of a long response, without a limit, because a response that has begun cannot be
    /// refused.
    pub(crate) async fn part(
        &self,
        user: &UserId,
    ) -> Result<(OwnedSemaphorePermit, OwnedSemaphorePermit), Error> {
        let running = self.with_account(user, Instant::now(), |account| account.running.clone());
        let of_account = running.acquire_owned().await.map_err(Error::internal)?;
        Ok((of_account, self.all.clone().acquire_owned().await.map_err(Error::internal)?))
    }

    async fn within(
        &self,
        turns: Arc<Semaphore>,
        refusal: impl FnOnce() -> Error,
    ) -> Result<OwnedSemaphorePermit, Error> {
        match tokio::time::timeout(self.wait, turns.acquire_owned()).await {
            Ok(turn) => turn.map_err(Error::internal),
            Err(_) => Err(refusal()),
        }
    }

    fn with_account<R>(&self, user: &UserId, now: Instant, look: impl FnOnce(&mut AccountTurns) -> R) -> R {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if accounts.len() > MAX_IDLE_ACCOUNTS {
            accounts.retain(|_, it| !it.pace.is_idle(now) || Arc::strong_count(&it.running) > 1);
        }
        let account = accounts.entry(user.clone()).or_insert_with(|| AccountTurns {
            running: Arc::new(Semaphore::new(MAX_RUNNING_OF_ACCOUNT)),
            pace: Pace::new(now),
        });
        look(account)
    }
}

fn too_many() -> Error {
    let text = "The server has too many expensive reads running. Try again in 1 second.";
    Problem::new(Code::TooManyRequests, text).into()
}

fn too_many_of_account() -> Error {
    let text = "Your account has too many expensive reads running. Try again in 1 second.";
    Problem::new(Code::TooManyRequests, text).into()
}

/// Key of a cached result: the registration, the parameters, and the version of the registration, which every change of
/// its secrets increases. A result from before a change is never returned after it.
pub(crate) type ReadingKey = (RegistrationId, String, i64);

type Slot<T> = Arc<tokio::sync::Mutex<Option<(Timestamp, T)>>>;

/// Cached results of one kind. Equal ones are computed one at a time, and the others wait.
pub(crate) struct Readings<T> {
    slots: Mutex<HashMap<ReadingKey, Slot<T>>>,
    kept_for: Duration,
}

impl<T: Clone> Readings<T> {
    /// Creates a cache whose results are kept for this time; with zero, none are kept.
    pub(crate) fn new(kept_for: Duration) -> Self {
        Self { slots: Mutex::default(), kept_for }
    }

    /// Returns a cached result, or computes it. `now` is read when a result is looked up or cached. If the principal
    /// disconnects during the computation, the next principal computes it.
    pub(crate) async fn get(
        &self,
        key: ReadingKey,
        now: impl Fn() -> Timestamp,
        compute: impl AsyncFnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let slot = self.slot(key, now());
        let mut kept = tokio::time::timeout(MAX_WAIT, slot.lock()).await.map_err(|_| too_many())?;
        if let Some((at, value)) = &*kept
            && now() < at.after(self.kept_for)
        {
            return Ok(value.clone());
        }
        let value = compute().await?;
        *kept = Some((now(), value.clone()));
        Ok(value)
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<ReadingKey, Slot<T>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, key: ReadingKey, now: Timestamp) -> Slot<T> {
        let mut slots = self.slots();
        // A slot that another request holds is in use, even if it is empty.
        slots.retain(|_, slot| {
            let is_fresh = || {
                slot.try_lock()
                    .is_ok_and(|kept| kept.as_ref().is_some_and(|(at, _)| now < at.after(self.kept_for)))
            };
            Arc::strong_count(slot) > 1 || is_fresh()
        });
        if slots.len() >= MAX_READINGS {
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        slots.entry(key).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{cell::Cell, future::pending, pin::pin};

    fn user(number: u32) -> UserId {
        UserId::parse(&format!("usr_{number:022}")).unwrap()
    }

    fn key(change: i64) -> ReadingKey {
        (RegistrationId::parse(&format!("reg_{:022}", 1)).unwrap(), "minute".into(), change)
    }

    fn start() -> Timestamp {
        Timestamp::from_seconds(1_795_525_500)
    }

    #[tokio::test]
    async fn an_account_has_two_turns_and_the_next_read_is_refused_in_time() {
        let reads = Reads::waiting(Duration::from_millis(1));
        let turns =
            [reads.account_turn(&user(1)).await.unwrap(), reads.account_turn(&user(1)).await.unwrap()];
        let refused = reads.account_turn(&user(1)).await.err().unwrap();
        assert_eq!(refused.problem.code, Code::TooManyRequests);
        assert!(reads.account_turn(&user(2)).await.is_ok(), "another account");
        drop(turns);
        assert!(reads.account_turn(&user(1)).await.is_ok());
    }

    #[tokio::test]
    async fn slow_reads_of_many_accounts_leave_readers_to_all_other_reads() {
        let reads = Reads::waiting(Duration::from_millis(1));
        let (mut accounts, mut running) = (1.., Vec::new());
        let refused = loop {
            let of_account = reads.account_turn(&user(accounts.next().unwrap())).await.unwrap();
            match reads.turn().await {
                Ok(turn) => running.push((of_account, turn)),
                Err(refused) => break refused,
            }
        };
        assert_eq!(refused.problem.code, Code::TooManyRequests);
        assert!(refused.problem.detail.starts_with("The server has"), "{}", refused.problem.detail);
        assert!(running.len() < PARALLEL_READERS && running.len() > MAX_RUNNING_OF_ACCOUNT);
    }

    #[tokio::test]
    async fn a_flood_of_one_account_is_refused_in_time_and_no_other_account_is() {
        let reads = Reads::waiting(Duration::ZERO);
        let mut begun = 0;
        let refused = loop {
            match reads.account_turn(&user(1)).await {
                Ok(_) => begun += 1,
                Err(refused) => break refused,
            }
        };
        assert_eq!(refused.problem.code, Code::TooManyRequests);
        assert!(begun >= RATE_OF_ACCOUNT.burst, "{begun}");
        assert!(reads.account_turn(&user(2)).await.is_ok());
    }

    #[tokio::test]
    async fn only_idle_accounts_are_forgotten() {
        let (reads, now) = (Reads::default(), Instant::now());
        let looked = |number: u32, at: Instant| {
            let running = reads.with_account(&user(number), at, |account| {
                account.pace.next(RATE_OF_ACCOUNT, at, at).unwrap();
                account.running.clone()
            });
            (number == 0).then(|| running.try_acquire_owned().unwrap())
        };
        let _turn = looked(0, now);
        for number in 1..=300 {
            looked(number, now);
        }
        assert_eq!(reads.accounts.lock().unwrap().len(), 301, "none is idle");
        looked(301, now + RATE_OF_ACCOUNT.interval);
        assert_eq!(reads.accounts.lock().unwrap().len(), 2, "one has a turn, and one has just begun");
    }

    #[tokio::test]
    async fn a_reading_is_kept_for_a_second_and_never_beyond_a_change() {
        let (readings, computed, time) =
            (Readings::new(Duration::from_secs(1)), Cell::new(0), Cell::new(start()));
        let read = async |change: i64| {
            let compute = async || Ok::<_, Error>(computed.replace(computed.get() + 1) + 1);
            readings.get(key(change), || time.get(), compute).await.unwrap()
        };
        assert_eq!([read(1).await, read(1).await], [1, 1]);
        time.set(start().after(Duration::from_micros(999_999)));
        assert_eq!(read(1).await, 1);
        assert_eq!(read(2).await, 2, "after a change");
        time.set(start().after(Duration::from_secs(1)));
        assert_eq!(read(1).await, 3);
        time.set(start().after(Duration::from_secs(60)));
        read(9).await;
        assert_eq!(readings.slots().len(), 1, "what is old is forgotten");
    }

    #[tokio::test]
    async fn equal_readings_are_computed_once_and_a_caller_that_goes_away_stops_nobody() {
        let readings = Readings::new(Duration::from_secs(1));
        {
            let gone = readings.get(key(1), start, async || pending::<Result<u32, Error>>().await);
            let gone = pin!(gone);
            assert!(tokio::time::timeout(Duration::from_millis(1), gone).await.is_err());
        }
        let computed = Cell::new(0);
        let read = || {
            readings.get(key(1), start, async || {
                computed.set(computed.get() + 1);
                tokio::task::yield_now().await;
                Ok(7)
            })
        };
        let (one, two, three) = tokio::join!(read(), read(), read());
        assert_eq!((one.unwrap(), two.unwrap(), three.unwrap(), computed.get()), (7, 7, 7, 1));
    }
}
