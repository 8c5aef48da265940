//! The check that a world belongs to: its chance, which can be repeated, and its end, at which no job is forgotten.

use crate::database::Place;
use crossfade_app::App;
use crossfade_core::Random;
use std::{
    cell::RefCell,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};
use tempfile::TempDir;

thread_local! {
    /// The check that runs on this thread.
    static CURRENT: RefCell<Option<Arc<Check>>> = const { RefCell::new(None) };
}

/// One run of a check.
pub struct Check {
    seed: u64,
    /// Number of worlds that were made.
    made: AtomicU64,
    /// What the dropped ones have left.
    left: Mutex<Vec<Left>>,
}

impl Check {
    /// Begins on this thread. The seed is `CROSSFADE_TEST_SEED`, or another one each time.
    pub fn begin() {
        #[expect(clippy::disallowed_methods, reason = "a setting of this suite")]
        let seed = std::env::var("CROSSFADE_TEST_SEED").ok();
        Self::begin_with(match seed {
            Some(seed) => seed.parse().expect("CROSSFADE_TEST_SEED is a number"),
            None => RandomState::new().hash_one(0),
        });
    }

    /// Begins on this thread, with a seed.
    pub fn begin_with(seed: u64) {
        let check = Self { seed, made: AtomicU64::new(0), left: Mutex::default() };
        CURRENT.set(Some(Arc::new(check)));
    }

    /// The check that runs on this thread.
    #[track_caller]
    pub fn current() -> Arc<Self> {
        CURRENT.with_borrow(Option::clone).expect("a world belongs to a check that a list mounts")
    }

    /// The chance of its next world.
    pub fn chance(&self) -> Chance {
        let world = self.made.fetch_add(1, Ordering::Relaxed);
        Chance { state: AtomicU64::new(mixed(self.seed.wrapping_add(world))) }
    }

    /// Takes what a dropped world has left.
    pub fn leave(&self, left: Left) {
        self.left.lock().unwrap().push(left);
    }

    /// How to repeat its chance.
    pub fn how_to_repeat(&self) -> String {
        format!("to repeat its ids and secrets, run this test alone with CROSSFADE_TEST_SEED={}", self.seed)
    }

    #[expect(clippy::print_stderr, reason = "shown with a test that fails")]
    pub fn print_how_to_repeat(&self) {
        eprintln!("{}", self.how_to_repeat());
    }

    /// Ends the check of this thread, which has passed: no world is left, and every due job of each succeeds.
    pub async fn end() {
        let check = Self::current();
        let left = std::mem::take(&mut *check.left.lock().unwrap());
        let made = check.made.load(Ordering::Relaxed);
        assert_eq!(left.len() as u64, made, "each world that a check made is dropped at its end");
        for world in left {
            if let Err(forgotten) = world.finish().await {
                panic!("{forgotten}; {}", check.how_to_repeat());
            }
        }
        CURRENT.set(None);
    }
}

/// What a dropped world leaves: an application whose jobs may be due.
pub struct Left {
    pub app: Arc<App>,
    pub place: Arc<Place>,
    pub _directory: Arc<TempDir>,
    /// Whether the check says that it leaves an instance that can run no job.
    pub is_unable: bool,
}

impl Left {
    /// Runs the jobs that are due, and looks whether they left any.
    async fn finish(self) -> Result<(), String> {
        if self.is_unable {
            let said = "the instance was left unable to run jobs, but runs them".to_owned();
            return self.app.run_jobs().await.map_or(Ok(()), |()| Err(said));
        }
        let run = async || self.app.run_jobs().await.map_err(|error| format!("a due job failed: {error:?}"));
        let recorded = "SELECT (SELECT COUNT(*) FROM audit_events) + (SELECT COUNT(*) FROM notifications)";
        run().await?;
        let before = self.place.number(recorded).await;
        run().await?;
        match self.place.number(recorded).await == before {
            true => Ok(()),
            false => Err("the jobs left something that was due".to_owned()),
        }
    }
}

/// Bytes that follow from a seed (SplitMix64).
#[derive(Debug)]
pub struct Chance {
    state: AtomicU64,
}

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Random for Chance {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let state = self.state.fetch_add(STEP, Ordering::Relaxed);
            chunk.copy_from_slice(&mixed(state).to_le_bytes()[..chunk.len()]);
        }
    }
}

fn mixed(state: u64) -> u64 {
    let mut z = state.wrapping_add(STEP);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
