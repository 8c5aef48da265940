//! Writes refusals to the audit trail. A refusal has a way of its own: its entry is made before the transaction that
//! stores it, because the transaction of the refused change was rolled back.

use crate::{
    app::App,
    error::Error,
    frame::{
        entry::{About, Author},
        principal::Principal,
        targets::Names,
    },
};
use crossfade_core::{
    Code, Operation,
    audit::{Actor, Event},
};
use crossfade_store::NewAuditEvent;

impl App {
    /// Records a refusal in its own transaction, because the change's transaction was rolled back. Groups frequent
    /// refusals of one actor to protect the disk and other writers.
    pub(crate) async fn audit_refusal(
        &self,
        operation: Operation,
        principal: &Principal,
        names: &Names,
        error: &Error,
    ) {
        let code = error.problem.code;
        if matches!(code.status(), 401 | 500..) {
            return;
        }
        let event = Event::AccessRefused {
            operation: operation.id().to_owned(),
            code: code.as_str().to_owned(),
            field: error.problem.field.clone(),
            count: 1,
        };
        let now = self.clock.now();
        if !self.node.refusals.note(&principal.actor, &principal.via(), operation, code, now) {
            return;
        }
        let about = About {
            client: names.client.as_ref(),
            environment: names.environment.as_ref(),
            target: names.target.clone(),
            reason: Some(code.title()),
        };
        let refused = principal.author().refusal(now, &event, about);
        // A read stops with its client, so its refusal is noted before anything is waited for.
        if code == Code::NotFound || !operation.is_mutation() || self.node.changes.failing().is_some() {
            self.node.refusals.keep([refused]);
            return;
        }
        self.write_refusal(refused).await;
    }

    /// Writes a refusal now, or keeps it if the database cannot store it.
    pub(crate) async fn write_refusal(&self, refused: NewAuditEvent) {
        let written = async {
            let _turn = self.node.background_turn().await;
            let again = refused.clone();
            self.node
                .transact(async |tx, now| Ok(tx.append_audit(&NewAuditEvent { at: now, ..again }).await?))
                .await
        };
        match written.await {
            Ok(()) => {}
            Err(error) => {
                tracing::error!(%error, "cannot write a refusal to the audit trail");
                // Rows that may already be stored are not written again.
                if error.problem.code != Code::OutcomeUnknown {
                    self.node.refusals.keep([refused]);
                }
            }
        }
    }

    /// Writes the queued refusals.
    pub(crate) async fn write_kept_refusals(&self) -> Result<(), Error> {
        let kept = self.node.refusals.take_kept();
        if kept.is_empty() {
            return Ok(());
        }
        let written = self.node.transact(async |tx, _| {
            for refused in kept.events() {
                tx.append_audit(refused).await?;
            }
            kept.commits();
            Ok(())
        });
        let written = written.await;
        if written.as_ref().is_err_and(Error::is_refusal_of_data) {
            let events = kept.events().to_vec();
            kept.settle(true);
            return self.write_each_refusal(events).await;
        }
        // Rows that may already be stored are not written again.
        let is_written =
            written.as_ref().err().is_none_or(|error| error.problem.code == Code::OutcomeUnknown);
        kept.settle(is_written);
        written
    }

    /// Writes refusals one by one, so that a refusal that the database rejects does not block the others.
    async fn write_each_refusal(&self, kept: Vec<NewAuditEvent>) -> Result<(), Error> {
        let mut kept = kept.into_iter();
        while let Some(refused) = kept.next() {
            match self.node.transact(async |tx, _| Ok(tx.append_audit(&refused).await?)).await {
                Ok(()) => {}
                Err(error) if error.is_refusal_of_data() => {
                    tracing::error!(%error, "omitted a refusal from the audit trail because the database \
                        refused it");
                }
                Err(error) => {
                    let again = (error.problem.code != Code::OutcomeUnknown).then_some(refused);
                    self.node.refusals.keep(again.into_iter().chain(kept));
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Records grouped refusals that came too fast to be recorded individually.
    pub(crate) async fn write_grouped_refusals(&self, all: bool) -> Result<(), Error> {
        let gathered = self.node.refusals.take(self.clock.now(), all);
        if gathered.is_empty() {
            return Ok(());
        }
        let written = self.change_as(Actor::machine("serve"), async |act| {
            for it in &gathered {
                let event = Event::AccessRefused {
                    operation: it.operation.id().to_owned(),
                    code: it.code.as_str().to_owned(),
                    field: None,
                    count: it.count,
                };
                let about = About { reason: Some(it.code.title()), ..About::default() };
                let author = Author::from(it.actor.clone()).with(it.via.clone());
                act.on_behalf_of(author).audit_refused(&event, about).await?;
            }
            Ok(())
        });
        let written = written.await;
        // As with evidence, rows that may already be stored are not written again.
        if written.as_ref().is_err_and(|error| error.problem.code != Code::OutcomeUnknown) {
            self.node.refusals.put_back(gathered, self.clock.now());
        }
        written
    }
}
