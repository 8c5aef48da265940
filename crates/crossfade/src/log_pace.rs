//! A limit for the log, so that unknown sources cannot fill a disk by being refused. Each kind of line is written at a
//! limited rate; further lines are counted, and the counts are written.

use std::{
    collections::HashMap,
    fmt::{Debug, Write},
    mem::take,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use tracing::{
    Event, Subscriber,
    callsite::Identifier,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer};

/// Maximum number of lines of one kind in a row.
const BURST: u32 = 100;
/// Pause after which one more line of a kind can be written.
const LINE_EVERY: Duration = Duration::from_millis(100);
/// Interval for writing the counts.
const TOLD_EVERY: Duration = Duration::from_secs(10);
/// Field of lines that are always written: they belong to an authenticated account.
const ACCOUNT: &str = "account";

/// The kinds of lines, by the place in the code that writes them, with the number left out.
#[derive(Clone, Default)]
pub(crate) struct LogPace(Arc<Mutex<HashMap<Identifier, Kind>>>);

struct Kind {
    /// When all written lines would have been written at the limited rate.
    written_until: Instant,
    left_out: u64,
    message: String,
}

impl Kind {
    /// Whether another line can be written.
    fn admits(&mut self, now: Instant) -> bool {
        let until = self.written_until.max(now) + LINE_EVERY;
        let admits = until <= now + LINE_EVERY * BURST;
        if admits {
            self.written_until = until;
        } else {
            self.left_out += 1;
        }
        admits
    }
}

impl LogPace {
    /// Writes the number of lines left out of each kind, in a loop.
    pub(crate) async fn tell(&self) {
        loop {
            tokio::time::sleep(TOLD_EVERY).await;
            for (lines, left_out) in self.left_out() {
                tracing::warn!(lines, left_out, "omitted log lines that came too fast");
            }
        }
    }

    fn left_out(&self) -> Vec<(String, u64)> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left_out = kinds.values_mut().filter(|kind| kind.left_out > 0);
        left_out.map(|kind| (kind.message.clone(), take(&mut kind.left_out))).collect()
    }

    fn admits(&self, event: &Event<'_>, now: Instant) -> bool {
        if event.metadata().fields().field(ACCOUNT).is_some() {
            return true;
        }
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = kinds.entry(event.metadata().callsite()).or_insert_with(|| {
            let mut message = Message(String::new());
            event.record(&mut message);
            Kind { written_until: now, left_out: 0, message: message.0 }
        });
        kind.admits(now)
    }
}

impl<S: Subscriber> Layer<S> for LogPace {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        self.admits(event, Instant::now())
    }
}

/// Extracts the message of a line.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            // Writing to a text cannot fail.
            let _ = write!(self.0, "{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::{Registry, layer::SubscriberExt};

    /// Counts the written lines.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<u64>>);

    impl<S: Subscriber> Layer<S> for Written {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            *self.0.lock().unwrap() += 1;
        }
    }

    #[test]
    fn a_flood_of_lines_is_counted_and_another_kind_still_written() {
        let (pace, written) = (LogPace::default(), Written::default());
        let subscriber = Registry::default().with(written.clone()).with(pace.clone());
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..10_000 {
                tracing::info!(status = 401, "request");
            }
            tracing::info!("another line");
            for _ in 0..1000 {
                tracing::info!(account = "usr_1", status = 404, "request");
            }
        });
        let left_out = pace.left_out();
        assert_eq!(left_out.len(), 1, "{left_out:?}");
        let (lines, count) = &left_out[0];
        assert_eq!(lines, "request");
        assert_eq!(*written.0.lock().unwrap(), 10_000 - count + 1 + 1000);
        assert!(*count >= 9000, "{count}");
        assert_eq!(pace.left_out(), [], "told once");
    }

    #[test]
    fn a_kind_of_lines_recovers_with_time() {
        let now = Instant::now();
        let mut kind = Kind { written_until: now, left_out: 0, message: String::new() };
        assert_eq!((0..300).filter(|_| kind.admits(now)).count(), 100);
        assert_eq!((0..300).filter(|_| kind.admits(now + Duration::from_secs(1))).count(), 10);
        assert_eq!((0..300).filter(|_| kind.admits(now + Duration::from_secs(3600))).count(), 100);
        assert_eq!(kind.left_out, 900 - 210);
    }
}
