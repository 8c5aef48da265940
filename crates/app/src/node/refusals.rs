//! Refusals on their way to the trail: recorded individually as long as they come at a human pace, and grouped beyond
//! that. A program that is refused a thousand times per second must neither fill the disk nor delay a rotation.

use crossfade_core::{
    Code, Operation, Timestamp,
    audit::{Actor, Via},
};
use crossfade_store::NewAuditEvent;
use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Maximum number of refusals of one actor recorded individually within a window.
const ONE_BY_ONE: u32 = 60;
const WINDOW: Duration = Duration::from_secs(60);
/// Maximum number of refusals queued between two flushes. While the database does not accept them, further refusals are
/// grouped.
const MOST_KEPT: usize = 10_000;

#[derive(Default)]
pub(crate) struct Refusals {
    paces: Mutex<HashMap<String, ActorPace>>,
    /// Refusals to write with the next flush.
    kept: Mutex<Vec<NewAuditEvent>>,
}

struct ActorPace {
    actor: Actor,
    ends_at: Timestamp,
    written: u32,
    gathered: HashMap<(Via, Operation, Code), u64>,
}

/// Grouped refusals of one kind.
pub(crate) struct Gathered {
    pub(crate) actor: Actor,
    pub(crate) via: Via,
    pub(crate) operation: Operation,
    pub(crate) code: Code,
    pub(crate) count: u64,
}

/// Refusals on their way to the trail. Unwritten ones are queued again, even if the waiting caller disconnects.
pub(crate) struct TakenRefusals<'a> {
    refusals: &'a Refusals,
    events: Vec<NewAuditEvent>,
    /// Whether they may be committed.
    is_committing: AtomicBool,
}

impl TakenRefusals<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    pub(crate) fn events(&self) -> &[NewAuditEvent] {
        &self.events
    }

    /// Records that only the commit is left.
    pub(crate) fn commits(&self) {
        self.is_committing.store(true, Ordering::Relaxed);
    }

    /// Records whether they were or may have been written.
    pub(crate) fn settle(self, is_written: bool) {
        self.is_committing.store(is_written, Ordering::Relaxed);
    }
}

impl Drop for TakenRefusals<'_> {
    fn drop(&mut self) {
        if !*self.is_committing.get_mut() {
            self.refusals.keep(std::mem::take(&mut self.events));
        }
    }
}

impl Refusals {
    /// Whether to record this refusal now. Otherwise it has been grouped.
    pub(crate) fn note(
        &self,
        actor: &Actor,
        via: &Via,
        operation: Operation,
        code: Code,
        now: Timestamp,
    ) -> bool {
        let mut paces = self.lock();
        let pace = paces.entry(actor.id().to_owned()).or_insert_with(|| ActorPace {
            actor: actor.clone(),
            ends_at: now.after(WINDOW),
            written: 0,
            gathered: HashMap::new(),
        });
        // A window with grouped refusals ends when they are written.
        if now >= pace.ends_at && pace.gathered.is_empty() {
            (pace.ends_at, pace.written) = (now.after(WINDOW), 0);
        }
        if pace.written < ONE_BY_ONE && self.kept().len() < MOST_KEPT {
            pace.written += 1;
            return true;
        }
        *pace.gathered.entry((via.clone(), operation, code)).or_default() += 1;
        false
    }

    /// Queues a refusal for the next flush, so that response time does not reveal whether the target is hidden or
    /// missing.
    pub(crate) fn keep(&self, refused: impl IntoIterator<Item = NewAuditEvent>) {
        self.kept().extend(refused);
    }

    /// Removes and returns the queued refusals.
    pub(crate) fn take_kept(&self) -> TakenRefusals<'_> {
        let events = std::mem::take(&mut *self.kept());
        TakenRefusals { refusals: self, events, is_committing: AtomicBool::new(false) }
    }

    fn kept(&self) -> MutexGuard<'_, Vec<NewAuditEvent>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes and returns the grouped refusals of windows that have ended, or of all windows.
    pub(crate) fn take(&self, now: Timestamp, all: bool) -> Vec<Gathered> {
        let mut taken = Vec::new();
        self.lock().retain(|_, pace| {
            if !all && now < pace.ends_at {
                return true;
            }
            taken.extend(pace.gathered.drain().map(|((via, operation, code), count)| Gathered {
                actor: pace.actor.clone(),
                via,
                operation,
                code,
                count,
            }));
            false
        });
        taken
    }

    /// Puts back grouped refusals that could not be written, for the next attempt.
    pub(crate) fn put_back(&self, gathered: Vec<Gathered>, now: Timestamp) {
        let mut paces = self.lock();
        for it in gathered {
            let pace = paces.entry(it.actor.id().to_owned()).or_insert_with(|| ActorPace {
                actor: it.actor.clone(),
                ends_at: now,
                written: ONE_BY_ONE,
                gathered: HashMap::new(),
            });
            *pace.gathered.entry((it.via, it.operation, it.code)).or_default() += it.count;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, ActorPace>> {
        self.paces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn via() -> Via {
        Via::Machine { id: "test".into() }
    }

    #[test]
    fn a_human_pace_is_written_one_by_one_and_a_flood_is_gathered_and_none_is_lost() {
        let refusals = Refusals::default();
        let (one, two) = (Actor::machine("one"), Actor::machine("two"));
        let note =
            |actor: &Actor, now| refusals.note(actor, &via(), Operation::ReadClient, Code::NotFound, now);
        let written = (0..1000).filter(|_| note(&one, at(5))).count();
        assert_eq!(written, 60);
        assert!(note(&two, at(5)), "another actor has a pace of its own");
        assert!(refusals.take(at(64), false).is_empty(), "not before the window has ended");
        let gathered = refusals.take(at(65), false);
        assert_eq!(gathered.iter().map(|it| it.count).sum::<u64>(), 940);
        assert!(note(&one, at(66)), "a new window");
    }

    #[test]
    fn what_could_not_be_written_comes_again_with_what_followed() {
        let refusals = Refusals::default();
        let (one, two) = (Actor::machine("one"), Actor::machine("two"));
        let note =
            |actor: &Actor, now| refusals.note(actor, &via(), Operation::ReadClient, Code::NotFound, now);
        for _ in 0..100 {
            note(&one, at(5));
            note(&two, at(5));
        }
        let taken = refusals.take(at(65), false);
        for _ in 0..100 {
            note(&one, at(66));
        }
        refusals.put_back(taken, at(67));
        let of = |list: &[Gathered], actor: &Actor| -> u64 {
            list.iter().filter(|it| it.actor.id() == actor.id()).map(|it| it.count).sum()
        };
        let again = refusals.take(at(67), false);
        assert_eq!((of(&again, &one), of(&again, &two)), (0, 40), "a window that runs is not ended by it");
        assert_eq!(of(&refusals.take(at(126), false), &one), 80);
    }

    #[test]
    fn a_slow_actor_is_never_gathered_and_a_stop_takes_everything() {
        let refusals = Refusals::default();
        let actor = Actor::machine("one");
        for second in 0..600 {
            assert!(refusals.note(&actor, &via(), Operation::ReadClient, Code::Forbidden, at(second * 2)));
        }
        for _ in 0..100 {
            refusals.note(&actor, &via(), Operation::ReadClient, Code::Forbidden, at(2000));
        }
        assert_eq!(refusals.take(at(2000), true).iter().map(|it| it.count).sum::<u64>(), 40);
    }
}
