//! Turns for password hashing. A hash needs 19 MiB and a CPU for a while, so two are computed at a time: one for
//! sign-ins from unknown sources, and one for requests that are already authenticated. Unknown sources never use the
//! second.

use crate::{error::Error, frame::room::Room};
use crossfade_core::{Code, Problem, address::wide_network};
use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::oneshot::Receiver;

/// Maximum number of waiting sign-ins from unknown sources.
const MAX_STRANGERS: usize = 64;
/// Maximum number of waiting authenticated requests.
const MAX_KNOWN: usize = 32;
/// The longest wait for a turn.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// The two queues for hashing.
pub(crate) struct Lanes {
    strangers: Arc<Lane>,
    known: Arc<Lane>,
}

impl Default for Lanes {
    fn default() -> Self {
        Self { strangers: Lane::new(MAX_STRANGERS), known: Lane::new(MAX_KNOWN) }
    }
}

impl Lanes {
    /// Takes a place among the sign-ins from unknown sources; an error if every place is taken. Addresses of one
    /// network share places, and a network with recent failures comes after the others.
    pub(crate) fn stranger(
        &self,
        address: IpAddr,
        failures_of: &dyn Fn(&str) -> u64,
    ) -> Result<Place, Error> {
        self.strangers.enter(&wide_network(address).to_string(), failures_of).ok_or_else(busy)
    }

    /// Takes a place for a request authenticated by a session, a one-time link, the cookie of a known browser, or
    /// access to the machine. `who` names the account.
    pub(crate) fn known(&self, who: &str) -> Result<Place, Error> {
        self.known.enter(who, &|_| 0).ok_or_else(busy)
    }
}

/// A lane that runs one task at a time, and its waiting requests.
pub(crate) struct Lane(Mutex<State>);

struct State {
    is_busy: bool,
    room: Room<Turn>,
}

/// A place in a queue; [`run`](Place::run) waits for the turn.
pub(crate) struct Place(TurnWait);

enum TurnWait {
    Not(Turn),
    For(Receiver<Turn>),
}

/// Permission to run. Dropping it lets the next request run.
pub(crate) struct Turn(Option<Arc<Lane>>);

impl Lane {
    /// Returns an empty queue for at most `limit` waiting requests.
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { is_busy: false, room: Room::new(limit) })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place; `None` if every place is taken.
    pub(crate) fn enter(self: &Arc<Self>, source: &str, failures_of: &dyn Fn(&str) -> u64) -> Option<Place> {
        let mut state = self.state();
        if !std::mem::replace(&mut state.is_busy, true) {
            return Some(Place(TurnWait::Not(Turn(Some(self.clone())))));
        }
        let called = state.room.enter(source, failures_of)?;
        Some(Place(TurnWait::For(called)))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(lane) = self.0.take() else { return };
        loop {
            let mut state = lane.state();
            let Some(next) = state.room.pop() else {
                state.is_busy = false;
                return;
            };
            drop(state);
            match next.send(Self(Some(lane.clone()))) {
                Ok(()) => return,
                // The request is gone, so another one gets the turn; dropping this turn must not pass it on again.
                Err(mut unused) => unused.0 = None,
            }
        }
    }
}

impl Place {
    /// Waits for the turn; `None` if it does not come in time, or if the place went to a source with fewer requests.
    pub(crate) async fn turn(self, within: Duration) -> Option<Turn> {
        match self.0 {
            TurnWait::Not(turn) => Some(turn),
            TurnWait::For(called) => tokio::time::timeout(within, called).await.ok()?.ok(),
        }
    }

    /// Runs `work` when it is the turn of this request. The turn lasts as long as the work, even if the caller
    /// disconnects.
    pub(crate) async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let turn = self.turn(MAX_WAIT).await.ok_or_else(busy)?;
        let worked = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        worked.await.map_err(Error::internal)
    }
}

/// Returns the refusal for a request without a place.
pub(crate) fn busy() -> Error {
    let text = "Too many sign-ins are waiting. Nothing was changed. Try again in a moment.";
    Problem::new(Code::Unavailable, text).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::atomic::{AtomicUsize, Ordering::SeqCst},
        thread::sleep,
    };
    use tokio::task::JoinSet;

    const NONE: fn(&str) -> u64 = |_| 0;
    const SOON: Duration = Duration::from_millis(2);

    fn address(number: usize) -> IpAddr {
        IpAddr::from([10, 0, number as u8, 1])
    }

    /// Occupies a lane until the sender is dropped.
    fn occupy(place: Place) -> std::sync::mpsc::Sender<()> {
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let running = place.run(move || receiver.recv().is_ok());
        let mut tasks = JoinSet::new();
        tasks.spawn(running);
        tasks.detach_all();
        sender
    }

    #[tokio::test]
    async fn one_hash_of_a_lane_runs_at_a_time_also_when_callers_hang_up() {
        let (lanes, running, most) =
            (Lanes::default(), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let one = |number| {
            let (running, most) = (running.clone(), most.clone());
            let place = lanes.stranger(address(number), &NONE).unwrap();
            async move {
                let work = move || {
                    most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                    sleep(Duration::from_millis(10));
                    running.fetch_sub(1, SeqCst)
                };
                place.run(work).await.map(drop)
            }
        };
        let mut gone: JoinSet<_> = (0..3).map(one).collect();
        while running.load(SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        gone.abort_all();
        for done in (0..6).map(one).collect::<JoinSet<_>>().join_all().await {
            done.unwrap();
        }
        assert_eq!(most.load(SeqCst), 1);
        assert!(!lanes.strangers.state().is_busy, "the last turn frees the lane");
    }

    #[tokio::test]
    async fn a_queue_of_strangers_is_bounded_and_delays_nobody_who_is_known() {
        let lanes = Lanes::default();
        let occupied = occupy(lanes.stranger(address(0), &NONE).unwrap());
        let waiting: Vec<_> =
            (0..MAX_STRANGERS).map(|it| lanes.stranger(address(it), &NONE).unwrap()).collect();
        let refused = lanes.stranger(address(200), &NONE).err().unwrap();
        assert_eq!(refused.problem.code, Code::Unavailable);
        assert_eq!(lanes.known("usr_1").unwrap().run(|| 7).await.unwrap(), 7);
        drop((occupied, waiting));
    }

    #[tokio::test]
    async fn a_flood_from_one_network_leaves_a_place_to_the_others() {
        let lanes = Lanes::default();
        let occupied = occupy(lanes.stranger(address(0), &NONE).unwrap());
        let flood: Vec<_> = (0..MAX_STRANGERS)
            .map(|it| lanes.stranger(IpAddr::from([10, 0, 0, it as u8]), &NONE).unwrap())
            .collect();
        assert!(lanes.stranger(address(0), &NONE).is_err());
        let honest = lanes.stranger(address(1), &NONE).unwrap();
        let mut tasks: JoinSet<_> = flood.into_iter().map(|place| place.run(|| sleep(SOON))).collect();
        drop(occupied);
        assert_eq!(honest.run(|| 7).await.unwrap(), 7);
        let served = std::iter::from_fn(|| tasks.try_join_next()).count();
        assert!(served < MAX_STRANGERS / 2, "before most of the flood");
    }
}
