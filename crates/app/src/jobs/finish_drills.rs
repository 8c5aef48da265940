//! Reports the callers found by a drill to the trail and the client's owners, once the drill has ended and its evidence
//! is stored.

use crate::{
    app::App,
    drills::list::{shown_caller, unrecorded_seconds},
    error::Error,
    frame::entry::About,
};
use crossfade_core::{
    Timestamp,
    audit::{Actor, Event},
};
use std::time::Duration;

/// Maximum number of callers named in the event.
const MOST_CALLERS: i64 = 20;
/// Maximum number of drills reported in one transaction.
const MOST_DRILLS: i64 = 50;
/// How long after its end a drill is reported: callers refused in its last moment are stored by then.
const TOLD_AFTER: Duration = Duration::from_secs(5);

impl App {
    /// Reports drills that have ended. Refusals before `flushed` are stored.
    pub(crate) async fn tell_finished_drills(&self, flushed: Timestamp) -> Result<(), Error> {
        let before = flushed.before(TOLD_AFTER);
        loop {
            // Usually there is none, and then the lock is not needed.
            let due = self.db.read::<_, Error>(async |tx| Ok(tx.untold_drills(before, 1).await?)).await?;
            if due.is_empty() {
                return Ok(());
            }
            self.change_as(Actor::policy("drill", "Drill"), async |act| {
                for row in act.tx.untold_drills(before, MOST_DRILLS).await? {
                    let drill = &row.rule;
                    act.tx.drill_told(&drill.id, act.now).await?;
                    // Stopped before it began: it found no caller, and the stop is already recorded.
                    if drill.windows().is_empty() {
                        continue;
                    }
                    let counts = act.tx.drill_counts(&drill.id).await?;
                    let callers = act.tx.drill_callers(&drill.id, MOST_CALLERS).await?;
                    let unrecorded_seconds = unrecorded_seconds(act.tx, drill, act.now).await?;
                    let event = Event::DrillFinished {
                        drill_id: drill.id.clone(),
                        secret_id: drill.secret_id.clone(),
                        ended_at: drill.ends_at(),
                        stopped: drill.stopped.is_some(),
                        caller_count: counts.callers,
                        refusal_count: counts.refusals,
                        unrecorded_seconds,
                        callers: callers.into_iter().map(|it| shown_caller(it).into()).collect(),
                    };
                    let Some(place) = act.tx.place_of_registration(&row.registration_id).await? else {
                        continue;
                    };
                    let about = About {
                        client: Some(&place.client_id),
                        environment: Some(&place.environment),
                        target: Some(drill.id.to_string()),
                        reason: None,
                    };
                    act.tell_at(act.now, self.random.as_ref(), &event, about).await?;
                }
                Ok(())
            })
            .await?;
        }
    }
}
