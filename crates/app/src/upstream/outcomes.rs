//! What upstream issuers say about credentials: noted in memory by requests, and stored by the worker.

use crate::{
    app::App,
    error::Error,
    frame::{act::Act, entry::About},
};
use crossfade_core::{
    RegistrationId, Timestamp,
    audit::{Actor, Event},
    upstream::{Slot, SlotState, Turn},
};
use crossfade_store::SlotOutcome;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Maximum number of characters of an error that is kept.
const MAX_ERROR: usize = 100;
/// Maximum number of outcomes stored in one transaction.
const OUTCOMES_AT_ONCE: usize = 500;

/// What an issuer said about a secret of an upstream credential.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UpstreamOutcome {
    /// It accepted the secret.
    Accepted,
    /// It refused the secret, with this status and `error`.
    Refused(String),
    /// It did not answer, or its response does not tell.
    Unknown,
}

/// Outcomes that wait to be stored, the latest of each secret.
#[derive(Default)]
pub(crate) struct Outcomes(Mutex<BTreeMap<(String, Slot), SlotOutcome>>);

impl Outcomes {
    fn all(&self) -> MutexGuard<'_, BTreeMap<(String, Slot), SlotOutcome>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, outcome: SlotOutcome) {
        let key = (outcome.registration_id.to_string(), outcome.slot);
        self.all().insert(key, outcome);
    }

    fn take(&self, limit: usize) -> Vec<SlotOutcome> {
        let mut all = self.all();
        let keys: Vec<_> = all.keys().take(limit).cloned().collect();
        keys.iter().filter_map(|key| all.remove(key)).collect()
    }

    /// Puts back what could not be stored, unless something newer is known.
    fn put_back(&self, outcomes: Vec<SlotOutcome>) {
        let mut all = self.all();
        for outcome in outcomes {
            let key = (outcome.registration_id.to_string(), outcome.slot);
            all.entry(key).or_insert(outcome);
        }
    }
}

impl App {
    /// Notes what the issuer said about a secret of an upstream credential that was sent. A secret that is accepted is
    /// tried first from now on. Costs next to nothing while nothing changes.
    pub fn note_upstream_outcome(
        &self,
        registration: &RegistrationId,
        slot: Slot,
        set_at: Timestamp,
        outcome: &UpstreamOutcome,
    ) {
        let Some(credential) = self.authority.upstream_credential(registration) else { return };
        // It was replaced while the request was under way.
        let Some(sent) = credential.slot(slot).filter(|sent| sent.set_at == set_at) else { return };
        let now = self.clock.now();
        let (state, last_ok_at, last_error) = match outcome {
            UpstreamOutcome::Accepted => {
                let leads = credential.lead_with(slot);
                if !sent.accept(now) && !leads {
                    return;
                }
                (SlotState::Ok, Some(now), None)
            }
            UpstreamOutcome::Refused(error) => {
                sent.doubt();
                let visible = error.chars().filter(|it| matches!(it, ' '..='~')).take(MAX_ERROR).collect();
                (SlotState::Refused, None, Some(visible))
            }
            UpstreamOutcome::Unknown => {
                sent.doubt();
                (SlotState::Unknown, None, None)
            }
        };
        let registration_id = registration.clone();
        self.upstream_outcomes.note(SlotOutcome {
            registration_id,
            slot,
            set_at,
            state,
            last_ok_at,
            last_error,
        });
    }

    /// Stores what issuers said about upstream credentials.
    pub(crate) async fn store_upstream_outcomes(&self) -> Result<(), Error> {
        loop {
            let outcomes = self.upstream_outcomes.take(OUTCOMES_AT_ONCE);
            if outcomes.is_empty() {
                return Ok(());
            }
            let stored = self.change_here(Actor::policy("upstream", "Upstream credentials"), async |act| {
                let mut noted = BTreeSet::new();
                for outcome in &outcomes {
                    if !act.tx.note_upstream_outcome(outcome).await? {
                        continue;
                    }
                    noted.insert(&outcome.registration_id);
                    if outcome.state == SlotState::Ok {
                        act.tx.lead_with_upstream_slot(&outcome.registration_id, outcome.slot).await?;
                    }
                }
                for registration in noted {
                    self.record_upstream_turn(act, registration).await?;
                }
                Ok(())
            });
            if let Err(error) = stored.await {
                self.upstream_outcomes.put_back(outcomes);
                return Err(error);
            }
        }
    }

    /// Records that the issuer refuses an upstream credential, or accepts it again, and tells the owners of the client: once
    /// for each time, however many requests there are.
    pub(crate) async fn record_upstream_turn(
        &self,
        act: &mut Act<'_>,
        registration: &RegistrationId,
    ) -> Result<(), Error> {
        let Some(credential) = act.tx.upstream_credential(registration).await? else { return Ok(()) };
        let states: Vec<_> = credential.slots.iter().map(|slot| (slot.slot, slot.state)).collect();
        let (refused, turn) = credential.refused.after(&states, act.now);
        if refused != credential.refused {
            act.tx.set_upstream_refused(registration, refused).await?;
        }
        let event = match turn {
            None => return Ok(()),
            Some(Turn::Refused(since)) => {
                let leading = credential.slots.iter().find(|slot| slot.slot == credential.leading_slot);
                let said = leading.or(credential.slots.first()).and_then(|slot| slot.last_error.clone());
                Event::UpstreamCredentialRefused {
                    registration_id: registration.clone(),
                    since,
                    last_error: said,
                }
            }
            Some(Turn::Accepted(refused_since, slot)) => Event::UpstreamCredentialAccepted {
                registration_id: registration.clone(),
                refused_since,
                slot,
            },
        };
        let Some(place) = act.tx.place_of_registration(registration).await? else { return Ok(()) };
        let about = About {
            client: Some(&place.client_id),
            environment: Some(&place.environment),
            target: Some(registration.to_string()),
            ..About::default()
        };
        act.tell_at(act.now, self.random.as_ref(), &event, about).await
    }
}
