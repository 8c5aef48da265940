//! Tells of what needs someone now and is no change of anybody: ended secrets that are still presented in numbers,
//! evidence that cannot be written, and nodes that have no lease.

use crate::{
    app::App,
    drills::list::shown_caller,
    error::Error,
    frame::{
        act::{Act, message_id},
        entry::About,
    },
};
use crossfade_core::{
    SecretId, Timestamp,
    audit::{Actor, Event},
    messages::{COUNTED_FOR, Class, is_told, missed, presented_at_cause, presented_cause},
};
use crossfade_store::{Notification, RefusedCallerRow};
use std::cmp::Reverse;

/// Maximum number of callers named in an event.
const MAX_CALLERS: usize = 3;

/// Returns the callers whose attempts with an ended secret count, the latest refusal first.
async fn refused_lately(
    act: &mut Act<'_>,
    secret: &SecretId,
    ended_at: Timestamp,
) -> Result<Vec<RefusedCallerRow>, Error> {
    let since = ended_at.max(act.now.before(COUNTED_FOR));
    let mut callers = act.tx.refused_callers_of_secrets(&[secret]).await?;
    // Those of a drill were refused before the end.
    callers.retain(|row| row.drill_id.is_none() && row.refusals.last_used_at >= since);
    // A row for all other callers has no name to tell.
    callers.sort_by_key(|row| (row.source.gathered, Reverse(row.refusals.last_used_at)));
    Ok(callers)
}

impl App {
    /// Tells owners of ended secrets that are still presented in numbers.
    pub(crate) async fn tell_presented_secrets(&self) -> Result<(), Error> {
        for (secret_id, tries) in self.node.presented_often(self.clock.now()) {
            let policy = Actor::policy("ended_secrets", "Ended secrets");
            let known = self.read(async |tx| Ok(tx.ended_secret(&secret_id).await?)).await?;
            let Some(known) = known else { continue };
            let now = self.clock.now();
            let cause = presented_cause(&secret_id, known.compromised, now);
            let of_registration = presented_at_cause(&known.registration_id, now);
            let Some(ended_at) = known.ended_at.filter(|ended_at| is_told(tries, *ended_at, now)) else {
                continue;
            };
            if self
                .read(async |tx| Ok(tx.is_told(&cause).await? || tx.is_told(&of_registration).await?))
                .await?
            {
                continue;
            }
            self.change_as(policy, async |act| {
                // Someone with many old secrets of one registration causes one message, too.
                if !act.tx.tell_once(&of_registration, act.now).await?
                    || !act.tx.tell_once(&cause, act.now).await?
                {
                    return Ok(());
                }
                let about = About {
                    client: Some(&known.client_id),
                    environment: Some(&known.environment),
                    target: Some(secret_id.to_string()),
                    reason: None,
                };
                let callers = refused_lately(act, &secret_id, ended_at).await?;
                let caller_count = u64::try_from(callers.len()).unwrap_or(u64::MAX);
                let named =
                    callers.into_iter().take(MAX_CALLERS).map(|row| shown_caller(row).into()).collect();
                let event = Event::EndedSecretPresented {
                    secret_id: secret_id.clone(),
                    registration_id: Some(known.registration_id.clone()),
                    ended_at,
                    tries,
                    within_seconds: COUNTED_FOR.as_secs(),
                    compromised: known.compromised,
                    callers: (caller_count > 0).then_some(named),
                    caller_count: (caller_count > 0).then_some(caller_count),
                };
                act.tell_at(act.now, self.random.as_ref(), &event, about).await
            })
            .await?;
        }
        Ok(())
    }

    /// Tells the managers of the platform that evidence cannot be written, once in an outage.
    pub(crate) async fn tell_unwritten_evidence(&self) -> Result<(), Error> {
        let due = self.node.evidence_outage().due(self.clock.now());
        let Some((since, until)) = due else { return Ok(()) };
        self.change_as(Actor::machine("serve"), async |act| {
            let event = Event::EvidenceUnwritten { since, until };
            act.audit(&event, About::default()).await?;
            self.tell_managers(act, &event, &format!("evidence {since}")).await
        })
        .await?;
        self.node.evidence_outage().told(until);
        Ok(())
    }
    /// Tells the managers of the platform of nodes that have no lease. The node that leads does.
    pub(crate) async fn tell_missed_nodes(&self) -> Result<(), Error> {
        if !self.db.has_own_clock() {
            return Ok(());
        }
        let (nodes, now) = self
            .read(async |tx| Ok((tx.nodes().await?, tx.clock().await?.unwrap_or(self.clock.now()))))
            .await?;
        let nodes: Vec<_> = nodes.into_iter().filter(|it| it.released_at.is_none()).collect();
        for node in missed(nodes, |it| (&it.name, it.lease_until), now) {
            let cause = format!("node {} {}", node.id, node.lease_until);
            if self.read(async |tx| Ok(tx.is_told(&cause).await?)).await? {
                continue;
            }
            self.change_as(Actor::machine("serve"), async |act| {
                if !act.tx.tell_once(&cause, act.now).await? {
                    return Ok(());
                }
                let event = Event::NodeWithoutLease {
                    node_id: node.id.clone(),
                    name: node.name.clone(),
                    lease_ended_at: node.lease_until,
                };
                act.audit(&event, About::default()).await?;
                self.tell_managers(act, &event, &cause).await
            })
            .await?;
        }
        Ok(())
    }

    /// Queues a mail about an event to the managers of the platform who want it.
    async fn tell_managers(&self, act: &mut Act<'_>, event: &Event, cause: &str) -> Result<(), Error> {
        if !act.mails {
            return Ok(());
        }
        let managers = act.tx.manager_addresses().await?;
        let recipients = act.wanted_by(event, managers).await?;
        if recipients.is_empty() {
            return Ok(());
        }
        let notification = Notification {
            id: message_id(self.random.as_ref()),
            created_at: act.now,
            number: None,
            event: event.action(),
            client_id: None,
            client_name: None,
            environment: None,
            recipients,
            actor_name: None,
            actor_kind: None,
            source: None,
            reason: None,
            details: event.details(),
        };
        act.queue_mail(self.random.as_ref(), &notification, (Class::of(event), cause, None)).await
    }
}
