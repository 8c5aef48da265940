//! Schedules a drill: windows in which the retiring secret is refused.

use crate::{
    app::App,
    drills::list::shown_drill,
    error::Error,
    frame::{
        idempotency::Repeatable,
        request::{Input, Request},
        targets::{RegistrationPath, Site},
    },
};
use crossfade_core::{
    DrillId, Operation, Problem, Timestamp,
    api::{self, ScheduleDrill},
    audit::Event,
    drill::{self, Drill, Pattern, Refusal},
    rotation,
    text::Reason,
};
use crossfade_store::DrillRow;

impl Repeatable for api::Drill {}

impl App {
    /// Schedules windows in which the retiring secret of a registration is refused.
    pub async fn schedule_drill(
        &self,
        request: &Request<'_>,
        path: RegistrationPath<'_>,
        input: Input<'_, ScheduleDrill>,
    ) -> Result<api::Drill, Error> {
        self.change(Operation::ScheduleDrill, request, path, async |act, _, site: Site| {
            act.matches(site.registration.version)?;
            let body = input.read()?;
            let reason = Reason::required(body.reason.as_deref())?;
            let pattern = Pattern::from_json(
                body.length_seconds.as_ref(),
                body.repeat.as_ref(),
                body.every_seconds.as_ref(),
            )
            .map_err(Problem::from)?;
            let starts_at = match &body.starts_at {
                Some(text) => Timestamp::parse(text)
                    .map_err(|error| Problem::invalid("starts_at", &format!("is {error}")))?,
                None => act.now,
            };
            site.confirm(body.confirm_client_name.as_deref())?;
            let open = act.tx.open_secrets(&site.registration.id, act.now).await?;
            let retiring = rotation::retiring(&open, act.now);
            let refused = |refusal: Refusal| Error::from(refusal.problem());
            if site.registration.disabled_at.is_some() {
                return Err(refused(Refusal::Disabled));
            }
            let Some(secret) = retiring else {
                return Err(refused(Refusal::NotRetiring { retiring: None }));
            };
            let latest = act.tx.latest_drill(&secret.id).await?.map(|row| row.rule);
            let new = Drill {
                id: DrillId::generate(self.random.as_ref()),
                secret_id: secret.id.clone(),
                starts_at,
                pattern,
                stopped: None,
            };
            let rule = drill::schedule(new, retiring, body.secret_id.as_ref(), latest.as_ref(), act.now)
                .map_err(refused)?;
            let row = DrillRow {
                rule,
                registration_id: site.registration.id.clone(),
                number: act.tx.newest_drill_number(&site.registration.id).await? + 1,
                scheduled_by: act.by.actor.clone(),
                scheduled_at: act.now,
                reason: reason.as_str().to_owned(),
                stopped_by: None,
            };
            act.tx.insert_drill(&row).await?;
            act.secrets_kept(&site.registration.id).await?;
            let event = Event::DrillScheduled {
                drill_id: row.rule.id.clone(),
                secret_id: row.rule.secret_id.clone(),
                starts_at,
                ends_at: row.rule.ends_at(),
                length_seconds: pattern.length_seconds(),
                repeat: pattern.repeat(),
                every_seconds: pattern.every_seconds(),
            };
            act.tell(self.random.as_ref(), &event, &site, row.rule.id.as_str(), reason.as_str()).await?;
            shown_drill(act.tx, row, act.now).await
        })
        .await
    }
}
