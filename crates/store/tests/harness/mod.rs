//! What the suite shares: a fresh database for each test, a way past the store, and rows to fill it with.

mod database;
pub mod engines;
mod rows;

pub use database::{Place, TestDb, migrations};
pub use rows::*;

use engines::Subject;
use std::{
    future::poll_fn,
    pin::pin,
    task::{Context, Poll},
};

impl Subject for TestDb {
    async fn open(place: Place) -> Self {
        Self::open(place).await
    }
}

/// For checks that open it themselves.
impl Subject for Place {
    async fn open(place: Place) -> Self {
        place
    }
}

/// A repeatable source of choices (xorshift64*), so that a failure can be repeated.
pub struct Choices(pub u64);

impl Choices {
    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}

/// Polls `future` at most `times` times and then drops it, as a server does whose caller hung up. With
/// `at_once` the drop follows the last poll; otherwise it waits until the future would have gone on.
pub async fn dropped_after<F: Future>(future: F, times: usize, at_once: bool) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut polls = 0;
    let step = |cx: &mut Context<'_>| {
        if polls == times {
            return Poll::Ready(None);
        }
        polls += 1;
        let polled = future.as_mut().poll(cx).map(Some);
        if at_once && polls == times {
            cx.waker().wake_by_ref();
        }
        polled
    };
    poll_fn(step).await
}

/// How often `future` is polled until it is done.
pub async fn count_polls<F: Future>(future: F) -> (usize, F::Output) {
    let mut future = pin!(future);
    let mut polls = 0;
    poll_fn(|cx| {
        polls += 1;
        future.as_mut().poll(cx).map(|output| (polls, output))
    })
    .await
}

/// Whether two values are the same in every field that they show.
#[track_caller]
pub fn assert_same<T: std::fmt::Debug>(got: &T, expected: &T) {
    assert_eq!(format!("{got:#?}"), format!("{expected:#?}"));
}

/// Whether `error` names this row as corrupt.
#[track_caller]
pub fn assert_corrupt(error: &crossfade_store::StoreError, table: &str, column: &str, row: &str) {
    let expected = format!("corrupt row in {table}, column {column}, row {row}");
    assert!(matches!(error, crossfade_store::StoreError::Corrupt { .. }), "{error:?} instead of {expected}");
    assert_eq!(error.to_string(), expected);
}

/// A registration of which every row can be read, or the first error.
pub fn whole(
    read: crossfade_store::ReadVerifier,
) -> Result<crossfade_store::VerifierRow, crossfade_store::StoreError> {
    match read.unreadable_secrets.into_iter().next() {
        Some(error) => Err(error),
        None => read.row,
    }
}
