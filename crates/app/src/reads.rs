//! Bounds for costly reads (`Operation::is_costly`), so that many of them do not delay the end of a secret: a number of
//! turns in all and for each account, and readings that are kept for a second.

use crate::error::Error;
use crossfade_core::{Code, Problem, RegistrationId, Timestamp, UserId};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Costly reads that run at a time.
const MAX_RUNNING: usize = 4;
/// Costly reads of one account that run at a time, whatever the number of its tokens and sessions.
const MAX_RUNNING_OF_ACCOUNT: usize = 2;
/// Costly reads of one account that run or wait. More are refused immediately.
const MAX_WAITING_OF_ACCOUNT: usize = 128;
/// How long a costly read waits for its turn.
const MAX_WAIT: Duration = Duration::from_secs(1);
/// Accounts that are remembered after their last costly read.
const MAX_IDLE_ACCOUNTS: usize = 256;
/// Readings that are kept at a time.
const MAX_READINGS: usize = 64;

/// Turns for costly reads.
pub(crate) struct Reads {
    wait: Duration,
    all: Arc<Semaphore>,
    accounts: Mutex<HashMap<UserId, Account>>,
}

#[derive(Clone)]
struct Account {
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

/// The turn of one account. Dropping it lets the next read of the account in.
pub(crate) struct AccountTurn {
    _running: OwnedSemaphorePermit,
    _waiting: OwnedSemaphorePermit,
}

/// One of the turns in all.
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

    /// Waits for a turn of this account; an error when there are too many or it takes too long.
    pub(crate) async fn account_turn(&self, user: &UserId) -> Result<AccountTurn, Error> {
        let Account { running, waiting } = self.account(user);
        let waiting = waiting.try_acquire_owned().map_err(|_| too_many())?;
        Ok(AccountTurn { _running: self.within(running).await?, _waiting: waiting })
    }

    /// Waits for one of the turns in all. An account has at most its own number of reads in this queue.
    pub(crate) async fn turn(&self) -> Result<ReadTurn, Error> {
        Ok(ReadTurn { _running: self.within(self.all.clone()).await? })
    }

    /// Waits for the turns of one part of a long answer, however long it takes: an answer that has begun cannot be
    /// refused.
    pub(crate) async fn part(
        &self,
        user: &UserId,
    ) -> Result<(OwnedSemaphorePermit, OwnedSemaphorePermit), Error> {
        let of_account = self.account(user).running.acquire_owned().await.map_err(Error::internal)?;
        Ok((of_account, self.all.clone().acquire_owned().await.map_err(Error::internal)?))
    }

    async fn within(&self, turns: Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Error> {
        match tokio::time::timeout(self.wait, turns.acquire_owned()).await {
            Ok(turn) => turn.map_err(Error::internal),
            Err(_) => Err(too_many()),
        }
    }

    fn account(&self, user: &UserId) -> Account {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if accounts.len() > MAX_IDLE_ACCOUNTS {
            accounts.retain(|_, it| it.waiting.available_permits() < MAX_WAITING_OF_ACCOUNT);
        }
        let account = accounts.entry(user.clone()).or_insert_with(|| Account {
            running: Arc::new(Semaphore::new(MAX_RUNNING_OF_ACCOUNT)),
            waiting: Arc::new(Semaphore::new(MAX_WAITING_OF_ACCOUNT)),
        });
        account.clone()
    }
}

fn too_many() -> Error {
    let text = "Too many costly reads of your account are running. Try again in 1 second.";
    Problem::new(Code::TooManyRequests, text).into()
}

/// What a reading is kept by: the registration, the parameters, and the version of the registration, which every change of
/// its secrets raises. A reading from before a change is never given out after it.
pub(crate) type ReadingKey = (RegistrationId, String, i64);

type Slot<T> = Arc<tokio::sync::Mutex<Option<(Timestamp, T)>>>;

/// Readings of one kind. Of equal ones one is computed at a time, and the others wait for it.
pub(crate) struct Readings<T> {
    slots: Mutex<HashMap<ReadingKey, Slot<T>>>,
    kept_for: Duration,
}

impl<T: Clone> Readings<T> {
    /// Readings that are kept for a span; of zero, none is.
    pub(crate) fn new(kept_for: Duration) -> Self {
        Self { slots: Mutex::default(), kept_for }
    }

    /// Returns a kept reading, or computes it. `now` is read when a reading is looked up or kept. If the caller goes away
    /// while the reading is computed, the next one computes it.
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
        // A slot that another request holds is in use, whatever is in it.
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
    async fn a_flood_of_one_account_is_refused_immediately() {
        let account = user(1);
        // It would be noticed if the refused read waited.
        let reads = Reads::waiting(Duration::from_secs(600));
        let _turns =
            [reads.account_turn(&account).await.unwrap(), reads.account_turn(&account).await.unwrap()];
        let mut waiting: Vec<_> =
            (2..MAX_WAITING_OF_ACCOUNT).map(|_| Box::pin(reads.account_turn(&account))).collect();
        for it in &mut waiting {
            assert!(tokio::time::timeout(Duration::ZERO, it).await.is_err());
        }
        assert!(reads.account_turn(&account).await.is_err());
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
