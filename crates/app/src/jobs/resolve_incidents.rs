//! Resolves the incidents of PagerDuty whose cause has ended in a way that sent no message to the webhook that opened them: by the
//! journal, while the webhook was disabled, or because its choices have changed. Forgets the leaks of ended secrets.

use crate::{app::App, error::Error, frame::incidents::over};
use crossfade_core::{
    SecretId, Timestamp, WebhookId,
    audit::{Actor, Event},
    messages::{leak_cause, leaked_secret},
    webhook::OpenIncident,
};
use crossfade_store::Tx;
use std::collections::HashMap;

/// Number of incidents that one transaction or one read looks at.
const AT_ONCE: usize = 200;

/// What is noted, and over.
#[derive(Default)]
struct Over {
    /// Incidents that enabled webhooks have opened.
    incidents: Vec<OpenIncident>,
    /// Causes of incidents whose webhook was deleted.
    unknown: Vec<String>,
    /// Leaked secrets that have ended.
    leaks: Vec<SecretId>,
}

impl App {
    /// Resolves the incidents that are over, and forgets the leaks of ended secrets.
    pub(crate) async fn resolve_incidents(&self) -> Result<(), Error> {
        let now = self.clock.now();
        // Usually there is none, and then the lock is not needed.
        let found = self.db.read::<_, Error>(async |tx| noted_and_over(tx, now).await).await?;
        let policy = || Actor::policy("webhooks", "Deliveries to webhooks");
        let random = self.random.as_ref();
        for leaks in found.leaks.chunks(AT_ONCE) {
            self.change_as(policy(), async |act| {
                let valid = act.tx.valid_of(leaks, act.now).await?;
                let ended: Vec<_> = leaks.iter().filter(|id| !valid.contains_key(*id)).cloned().collect();
                for (secret, place) in act.tx.places_of_secrets(&ended).await? {
                    if !act.tx.end_told(&leak_cause(&secret)).await? {
                        continue;
                    }
                    // What a deleted client has opened is noted.
                    let Some(client) = act.tx.client(&place.client_id).await? else { continue };
                    let event = Event::SecretRevoked {
                        secret_id: secret.clone(),
                        compromised: false,
                        revoke_tokens: false,
                    };
                    act.resolve_leak(random, &event, &client, &place.environment, &secret).await?;
                }
                Ok(())
            })
            .await?;
        }
        for incidents in found.incidents.chunks(AT_ONCE) {
            self.change_as(policy(), async |act| {
                for incident in over(act.tx, incidents.to_vec(), act.now).await? {
                    act.resolve_at(random, &incident).await?;
                }
                Ok(())
            })
            .await?;
        }
        for causes in found.unknown.chunks(AT_ONCE) {
            self.change_as(policy(), async |act| {
                for cause in causes {
                    act.tx.end_told(cause).await?;
                }
                Ok(())
            })
            .await?;
        }
        Ok(())
    }
}

async fn noted_and_over(tx: &mut Tx, now: Timestamp) -> Result<Over, Error> {
    let mut found = Over::default();
    let noted = tx.noted_incidents().await?;
    let leaks: Vec<SecretId> = noted.iter().filter_map(|cause| leaked_secret(cause)).collect();
    for leaks in leaks.chunks(AT_ONCE) {
        let valid = tx.valid_of(leaks, now).await?;
        found.leaks.extend(leaks.iter().filter(|id| !valid.contains_key(*id)).cloned());
    }
    let noted: Vec<_> =
        noted.into_iter().filter_map(|cause| OpenIncident::parse(&cause).map(|it| (cause, it))).collect();
    if noted.is_empty() {
        return Ok(found);
    }
    let webhooks = tx.all_webhooks().await?;
    let is_complete = webhooks.iter().all(Result::is_ok);
    let enabled: HashMap<WebhookId, bool> =
        webhooks.into_iter().flatten().map(|webhook| (webhook.id, webhook.disabled.is_none())).collect();
    let mut open = Vec::new();
    for (cause, incident) in noted {
        match enabled.get(&incident.webhook) {
            Some(true) => open.push(incident),
            Some(false) => {}
            None if is_complete => found.unknown.push(cause),
            None => {}
        }
    }
    for incidents in open.chunks(AT_ONCE) {
        found.incidents.extend(over(tx, incidents.to_vec(), now).await?);
    }
    Ok(found)
}
