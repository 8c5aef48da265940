//! A spinner on a terminal for work that takes longer than a second.

use indicatif::ProgressBar;
use std::{pin::pin, time::Duration};

const SOON: Duration = Duration::from_secs(1);
const TURN: Duration = Duration::from_millis(100);

/// Waits for work, and names it if it takes longer than a second. The spinner goes to stderr, and only to a terminal.
pub(crate) async fn while_waiting<T>(what: &'static str, work: impl Future<Output = T>) -> T {
    waiting(work, tokio::time::sleep(SOON), || {
        let spinner = ProgressBar::new_spinner().with_message(what);
        spinner.enable_steady_tick(TURN);
        Shown(spinner)
    })
    .await
}

/// Shows the spinner if the work takes longer than the delay, until it is done.
async fn waiting<T, S>(
    work: impl Future<Output = T>,
    patience: impl Future<Output = ()>,
    show: impl FnOnce() -> S,
) -> T {
    let mut work = pin!(work);
    tokio::select! {
        biased;
        done = &mut work => return done,
        () = patience => {}
    }
    let _shown = show();
    work.await
}

/// Removes the spinner even if the command is cancelled.
struct Shown(ProgressBar);

impl Drop for Shown {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{cell::Cell, future};

    /// Returns whether the spinner was shown for work that yields once, and the result.
    async fn shown(patience: impl Future<Output = ()>) -> bool {
        let shown = Cell::new(false);
        let work = async {
            tokio::task::yield_now().await;
            7
        };
        assert_eq!(waiting(work, patience, || shown.set(true)).await, 7);
        shown.get()
    }

    #[tokio::test]
    async fn only_what_outlasts_the_patience_is_shown() {
        assert!(!shown(future::pending()).await);
        assert!(shown(future::ready(())).await);
        let at_once = waiting(future::ready(7), future::ready(()), || panic!("it was done"));
        assert_eq!(at_once.await, 7);
    }
}
