//! Stops a drill immediately, on request or because its secret is no longer retiring.

use crate::{
    app::App,
    drills::list::shown_drill,
    error::Error,
    frame::{
        act::Act,
        entry::About,
        request::{Input, Request},
        targets::{RegistrationPath, Site},
    },
};
use crossfade_core::{
    DrillId, Operation, Problem, Random, SecretId,
    api::{self, StopDrill},
    audit::Event,
    drill::{self, StoppedAs},
    environment::Slug,
    text::Reason,
};
use crossfade_store::Client;

impl App {
    /// Stops a drill. This node accepts the secret again when the call returns.
    pub async fn stop_drill(
        &self,
        request: &Request<'_>,
        path: RegistrationPath<'_>,
        drill: &str,
        input: Input<'_, StopDrill>,
    ) -> Result<api::Drill, Error> {
        self.change(Operation::StopDrill, request, path, async |act, _, site: Site| {
            let id = DrillId::parse(drill).map_err(|_| Problem::not_found())?;
            let mut row = act.tx.drill(&site.registration.id, &id).await?.ok_or_else(Problem::not_found)?;
            act.matches(site.registration.version)?;
            let reason = Reason::parse(input.read()?.reason.as_deref())?;
            row.rule = drill::stop(&row.rule, StoppedAs::Stopped, act.now).map_err(|it| it.problem())?;
            row.stopped_by = Some(act.by.actor.clone());
            act.tx.stop_drill(&id, (act.now, StoppedAs::Stopped), &act.by.actor).await?;
            act.secrets_kept(&site.registration.id).await?;
            let event = Event::DrillStopped {
                drill_id: id.clone(),
                secret_id: row.rule.secret_id.clone(),
                stopped_as: StoppedAs::Stopped,
            };
            act.tell(self.random.as_ref(), &event, &site, id.as_str(), reason.as_str()).await?;
            shown_drill(act.tx, row, act.now).await
        })
        .await
    }
}

impl Act<'_> {
    /// Stops the drill, if any, of a secret that ends or becomes current in this change, so that nothing of the drill
    /// is left if the secret ever retires again. Whoever stops it appends the change to the change log. The webhooks of the
    /// client are told. Its owners get a mail about the change itself.
    pub(crate) async fn stop_drill_of(
        &mut self,
        random: &dyn Random,
        secret: &SecretId,
        stopped_as: StoppedAs,
        client: &Client,
        environment: &Slug,
    ) -> Result<(), Error> {
        let Some(row) = self.tx.latest_drill(secret).await? else { return Ok(()) };
        let Ok(stopped) = drill::stop(&row.rule, stopped_as, self.now) else { return Ok(()) };
        self.tx.stop_drill(&stopped.id, (self.now, stopped_as), &self.by.actor).await?;
        let event =
            Event::DrillStopped { drill_id: stopped.id.clone(), secret_id: secret.clone(), stopped_as };
        let about = About {
            client: Some(&client.id),
            environment: Some(environment),
            target: Some(stopped.id.to_string()),
            ..About::default()
        };
        self.audit(&event, about).await?;
        self.without_mail().notify(random, &event, client, Some(environment), None).await
    }
}
