//! The job of the deadline guard: warns in the trail and to the client's owners that an old secret is about to end
//! while it is still needed, and extends its deadline if the environment's policy says so.
//!
//! The guard decides what is due in a read, and again under the lock, where it no longer finds a secret that was
//! revoked since then. A sent warning is stored together with its event, so that no restart or kill makes it come twice
//! or not at all.

use crate::{
    app::App,
    error::Error,
    frame::{act::Act, entry::About},
    secrets::{extend::extend, transition::Transition},
};
use crossfade_core::{
    Timestamp,
    audit::{Actor, Event},
    change_over::Assessment,
    guard::{Due, Mark, is_needed, warns_managers},
};
use crossfade_store::{NearDeadline, PageStart, Tx};

/// Number of deadlines read at a time.
const PAGE: i64 = 500;

/// An approaching deadline of a secret that is still needed.
struct NeededSecret {
    near: NearDeadline,
    assessment: Assessment,
    last_used_at: Option<Timestamp>,
    new_first_used_at: Option<Timestamp>,
}

impl App {
    /// Warns before each approaching deadline, using the stored evidence, and extends it if the environment's policy
    /// says so. If one cannot be judged because its rows are corrupt, handles the others and returns the first error.
    pub(crate) async fn guard_deadlines(&self) -> Result<(), Error> {
        let mut page = PageStart { after: None, limit: PAGE };
        let mut done = Ok(());
        loop {
            let (last, due) = self.deadlines_due(&page).await?;
            for judged in due {
                let told = match judged {
                    Ok(judged) => {
                        let guard = Actor::policy("guard", "Deadline guard");
                        self.change_as(guard, async |act| self.guard_deadline(act, &judged).await).await
                    }
                    Err(error) => Err(error),
                };
                done = done.and(told);
            }
            let Some(last) = last else { return done };
            page.after = Some(last);
        }
    }

    /// Returns the deadlines of a page that need action, and where the next page begins.
    async fn deadlines_due(
        &self,
        page: &PageStart,
    ) -> Result<(Option<(i64, String)>, Vec<Result<NeededSecret, Error>>), Error> {
        self.db
            .read(async |tx| {
                let now = self.clock.now();
                let (rows, next) = tx.near_deadlines(near(now), page).await?;
                let mut due = Vec::new();
                for row in rows {
                    match row {
                        // Most have had their warning, and are not judged again.
                        Ok(row) if row.rule.due(now).is_nothing() => {}
                        Ok(row) => due.extend(self.judge_deadline(tx, row, now).await.transpose()),
                        Err(error) => due.push(Err(error.into())),
                    }
                }
                Ok((next, due))
            })
            .await
    }

    /// Handles one deadline.
    async fn guard_deadline(&self, act: &mut Act<'_>, judged: &NeededSecret) -> Result<(), Error> {
        let now = act.now;
        // Since the judgement it may have been revoked, extended or rolled back, or a warning may have been sent.
        let Some(near) = act.tx.near_deadline(near(now), &judged.near.secret_id).await? else {
            return Ok(());
        };
        let (secret_id, deadline) = (&near.secret_id, near.rule.deadline);
        if (&near.rotation_id, deadline) != (&judged.near.rotation_id, judged.near.rule.deadline) {
            return Ok(());
        }
        let Due { tell, extend_to } = near.rule.due(now);
        if let Some(mark) = tell {
            act.tx.insert_deadline_warning(&near.rotation_id, (deadline, mark), now).await?;
            let event = Event::DeadlineNear {
                rotation_id: near.rotation_id.clone(),
                secret_id: secret_id.clone(),
                expires_at: deadline,
                hours_before: mark.hours(),
                verdict: judged.assessment.verdict,
                callers_left: judged.assessment.callers.left(),
                last_used_at: judged.last_used_at,
                new_first_used_at: judged.new_first_used_at,
            };
            // Only an owner keeps the managers from being warned.
            let owners =
                act.tx.client(&near.client_id).await?.map(|client| client.owners).unwrap_or_default();
            let is_seen = act.tx.is_seen_by(&near.rotation_id, &owners).await?;
            let warns_managers = warns_managers(mark, is_seen);
            // The mail about an extension says everything that the warning would say.
            let mut told = act.sending(extend_to.is_none());
            told.warn(self.random.as_ref(), &event, about(&near, None), warns_managers).await?;
        }
        let Some(extended) = extend_to else { return Ok(()) };
        let Some(mut secret) = act.tx.secret(&near.registration_id, secret_id).await? else { return Ok(()) };
        let rotated_at = near.rule.rotated_at;
        let event = extend(act, &near.registration_id, &mut secret, rotated_at, extended).await?;
        act.tx.deadline_extended(&near.rotation_id, (deadline, Mark::OneHour), extended).await?;
        // The notification of the new deadline makes a warning for it at the same moment unnecessary.
        if let Some(mark) = Mark::reached(rotated_at, extended, now) {
            act.tx.insert_deadline_warning(&near.rotation_id, (extended, mark), now).await?;
        }
        let reason = judged.assessment.summary();
        act.tell_at(now, self.random.as_ref(), &event, about(&near, Some(&reason))).await
    }

    /// Judges a deadline; `None` if the old secret is no longer needed, as far as is known.
    async fn judge_deadline(
        &self,
        tx: &mut Tx,
        near: NearDeadline,
        now: Timestamp,
    ) -> Result<Option<NeededSecret>, Error> {
        let Some(registration) = tx.registration(&near.client_id, &near.environment).await? else {
            return Ok(None);
        };
        let Some(transition) = Transition::latest(tx, &near.registration_id, now).await? else {
            return Ok(None);
        };
        let tried = self.node.unflushed_try(&transition.old.rule.id);
        let assessment = transition.assess(&registration, None, tried, now);
        Ok(is_needed(assessment.verdict).then(|| NeededSecret {
            near,
            assessment,
            last_used_at: transition.old.usage.map(|usage| usage.last_used_at),
            new_first_used_at: transition.new.usage.map(|usage| usage.first_used_at),
        }))
    }
}

/// Returns the subject of an event about a deadline.
fn about<'a>(near: &'a NearDeadline, reason: Option<&'a str>) -> About<'a> {
    About {
        client: Some(&near.client_id),
        environment: Some(&near.environment),
        target: Some(near.secret_id.to_string()),
        reason,
    }
}

/// Returns the range of deadlines whose warning time can have passed.
fn near(now: Timestamp) -> (Timestamp, Timestamp) {
    (now, now.after(Mark::OneDay.span()))
}
