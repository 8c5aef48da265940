//! Identifies the secrets in a text.

use crate::{
    app::App,
    error::Error,
    frame::{
        entry::About,
        principal::Principal,
        request::{Input, Request},
        targets::{Names, forbidden},
    },
    people::abilities::Abilities,
    secrets::list::shown_secret,
};
use crossfade_core::{
    Code, Operation, Problem, Timestamp,
    api::{FoundSecret, IdentifiedSecret, IdentifiedSecrets, IdentifySecrets},
    audit::Event,
    environment::Slug,
    messages::{LEAK, leak_cause},
    roles::{Object, Permission},
    rotation::{SecretState, state_at},
    secret::{Found, find},
};
use crossfade_store::{LeakedSecret, Tx};
use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};
use tokio::time::{Instant, sleep_until};

/// Times at which answers are given, from the beginning of a search, for this many secrets in the text and each begun further
/// as many. What a secret takes longer which exists and cannot be read is not seen then: a search takes a small part of it.
const ANSWER_EVERY: Duration = Duration::from_millis(50);
const SECRETS_IN_IT: usize = 50;

/// Number of leaks whose owners are told in one transaction.
const LEAKS_TOLD_AT_ONCE: usize = 50;

impl App {
    /// Returns which secrets a text contains, and which registrations they belong to, as far as the principal can read them.
    /// What the principal cannot read is as unknown as what does not exist. Records the numbers, never the text.
    pub async fn identify_secrets(
        &self,
        request: &Request<'_>,
        input: Input<'_, IdentifySecrets>,
    ) -> Result<IdentifiedSecrets, Error> {
        let operation = Operation::IdentifySecrets;
        let (begun, mut secrets) = (Instant::now(), 0);
        let answer = match self.costly(operation, request.principal).await {
            Ok(_turns) => self.search(request, input, &mut secrets).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &answer {
            self.audit_refusal(operation, request.principal, &Names::default(), error).await;
        }
        sleep_until(next_answer(begun, Instant::now(), secrets)).await;
        answer
    }

    /// Returns what the principal is permitted to do with the registration of an identified secret.
    pub fn abilities_on(&self, principal: &Principal, it: &IdentifiedSecret) -> Abilities {
        let environment = Slug::from_stored(it.environment.clone());
        Abilities::of(principal, Object::Registration(&it.property_id, &it.client_id, &environment))
    }

    async fn search(
        &self,
        request: &Request<'_>,
        input: Input<'_, IdentifySecrets>,
        secrets: &mut usize,
    ) -> Result<IdentifiedSecrets, Error> {
        request.principal.may_begin(Operation::IdentifySecrets)?;
        self.node.unless_quarantined()?;
        // Whoever can read no client at all learns nothing here, and is not to fill the trail.
        if !request.principal.may_somewhere(Permission::ClientRead) {
            return Err(forbidden(Permission::ClientRead));
        }
        if !request.if_match.holds_for_list() {
            let text = "A text has no version, so If-Match never holds. Nothing was changed. Omit it.";
            return Err(Problem::new(Code::PreconditionFailed, text).into());
        }
        let text = input.read()?.text.ok_or_else(|| Problem::invalid("text", "is required"))?;
        if !self.searches.admit(request.principal.user(), Instant::now()) {
            let text = "Your account identifies too many texts. Try again in 1 second.";
            return Err(Problem::new(Code::TooManyRequests, text).into());
        }
        let found = find(text.as_bytes());
        *secrets = found.len();
        let digests = found.iter().map(|it| self.authority.value_digests(it.value.reveal()));
        let digests: Vec<Vec<[u8; 32]>> = digests.collect();
        let distinct: HashSet<[u8; 32]> = digests.iter().flatten().copied().collect();
        let distinct: Vec<[u8; 32]> = distinct.into_iter().collect();
        let (known, older_secrets_not_searched) = self
            .read(async |tx| {
                let now = self.clock.now();
                let principal = request.principal.refreshed(tx, now).await?;
                let known = readable(tx, &principal, &distinct, now).await?;
                Ok((known, tx.has_secret_without_value_digest().await?))
            })
            .await?;
        let identified =
            |digests: &Vec<[u8; 32]>| digests.iter().find_map(|digest| known.get(digest.as_slice()));
        let mut lines = Lines { text: text.as_bytes(), at: 0, line: 1 };
        let found: Vec<FoundSecret> = found
            .iter()
            .zip(&digests)
            .map(|(it, digests)| shown(it, &mut lines, identified(digests)))
            .collect();
        if !found.is_empty() {
            self.record(request.principal, &found).await?;
        }
        Ok(IdentifiedSecrets { found, older_secrets_not_searched })
    }

    /// Records how many secrets the principal looked for and how many it identified, and the secret if it is only one.
    async fn record(&self, principal: &Principal, found: &[FoundSecret]) -> Result<(), Error> {
        let identified: Vec<&IdentifiedSecret> =
            found.iter().filter_map(|it| it.identified.as_ref()).collect();
        let event =
            Event::SecretsIdentified { found: found.len() as u64, identified: identified.len() as u64 };
        let only =
            identified.first().filter(|first| identified.iter().all(|it| it.secret.id == first.secret.id));
        let environment = only.map(|it| Slug::from_stored(it.environment.clone()));
        let about = About {
            client: only.map(|it| &it.client_id),
            environment: environment.as_ref(),
            target: only.map(|it| it.secret.id.to_string()),
            reason: None,
        };
        let _turn = self.node.background_turn().await;
        self.change_own(principal, async |act, _| act.audit(&event, about).await).await?;
        self.tell_of_leaks(principal, &identified).await
    }

    /// Tells the owners of valid secrets that were found, once for each secret. Only what the principal can read gets here.
    async fn tell_of_leaks(&self, principal: &Principal, found: &[&IdentifiedSecret]) -> Result<(), Error> {
        let is_valid = |it: &&&IdentifiedSecret| {
            let has_ended = matches!(it.secret.state, SecretState::Expired | SecretState::Revoked);
            !has_ended && it.client_deleted_at.is_none()
        };
        let mut seen = HashSet::new();
        let valid: Vec<_> =
            found.iter().filter(is_valid).filter(|it| seen.insert(it.secret.id.clone())).collect();
        for leaks in valid.chunks(LEAKS_TOLD_AT_ONCE) {
            self.change_own(principal, async |act, principal| {
                // Since it was found, the secret may have ended, the client may have been deleted, or a permission have gone.
                let ids: Vec<_> = leaks.iter().map(|it| it.secret.id.clone()).collect();
                let valid = act.tx.valid_of(&ids, act.now).await?;
                for it in leaks {
                    let Some(deadline) = valid.get(&it.secret.id) else { continue };
                    let environment = Slug::from_stored(it.environment.clone());
                    let object = Object::Registration(&it.property_id, &it.client_id, &environment);
                    if !principal.may(Permission::ClientRead, object) {
                        continue;
                    }
                    if !act.tx.tell_once_about(LEAK, &leak_cause(&it.secret.id), act.now).await? {
                        continue;
                    }
                    let about = About {
                        client: Some(&it.client_id),
                        environment: Some(&environment),
                        target: Some(it.secret.id.to_string()),
                        reason: None,
                    };
                    let state = state_at(*deadline, None, act.now);
                    let event = Event::LeakReported { secret_id: it.secret.id.clone(), state };
                    act.tell_at(act.now, self.random.as_ref(), &event, about).await?;
                }
                Ok(())
            })
            .await?;
        }
        Ok(())
    }
}

/// Returns the secrets with these digests that the principal can read, by digest. Runs the same statements whether or not
/// there are any.
async fn readable(
    tx: &mut Tx,
    principal: &Principal,
    digests: &[[u8; 32]],
    now: Timestamp,
) -> Result<HashMap<Vec<u8>, IdentifiedSecret>, Error> {
    let may_read = |it: &LeakedSecret| {
        let object = Object::Registration(&it.place.property_id, &it.place.client_id, &it.place.environment);
        principal.may(Permission::ClientRead, object)
    };
    let known = tx.secrets_by_value(digests).await?;
    Ok(known.into_iter().filter(may_read).map(|it| (it.digest.clone(), identified(it, now))).collect())
}

fn identified(it: LeakedSecret, now: Timestamp) -> IdentifiedSecret {
    IdentifiedSecret {
        secret: shown_secret(&it.secret, now),
        compromised_at: it.compromised_at,
        property_id: it.place.property_id,
        property: it.property,
        client_id: it.place.client_id,
        client: it.place.client.to_string(),
        client_deleted_at: it.client_deleted_at,
        environment: it.place.environment.to_string(),
        registration_id: it.registration_id,
        oauth_client_id: it.oauth_client_id,
        disabled_at: it.disabled_at,
    }
}

fn shown(found: &Found, lines: &mut Lines<'_>, identified: Option<&IdentifiedSecret>) -> FoundSecret {
    FoundSecret {
        offset: found.offset as u64,
        line: lines.line_of(found.offset),
        prefix: found.prefix().to_owned(),
        encoded: found.is_encoded,
        identified: identified.cloned(),
    }
}

/// Counts the lines of a text, from position to position.
struct Lines<'a> {
    text: &'a [u8],
    at: usize,
    line: u64,
}

impl Lines<'_> {
    /// Returns the line of a position that is not before the last one.
    fn line_of(&mut self, offset: usize) -> u64 {
        let passed = self.text.get(self.at..offset).unwrap_or_default();
        self.line += passed.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.at = offset;
        self.line
    }
}

/// Returns when the answer of a search for so many secrets is given that is known at `now`.
fn next_answer(begun: Instant, now: Instant, secrets: usize) -> Instant {
    let every = ANSWER_EVERY * u32::try_from(1 + secrets / SECRETS_IN_IT).unwrap_or(u32::MAX);
    let periods = now.duration_since(begun).as_nanos() / every.as_nanos() + 1;
    begun + every * u32::try_from(periods).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_waits_for_the_next_of_fixed_times() {
        let begun = Instant::now();
        let of = |secrets, micros| next_answer(begun, begun + Duration::from_micros(micros), secrets) - begun;
        let after = |micros| of(1, micros);
        assert_eq!([0, 1, 49_999].map(after), [ANSWER_EVERY; 3]);
        assert_eq!([50_000, 99_999].map(after), [ANSWER_EVERY * 2; 2]);
        assert_eq!(
            [(49, 1), (50, 99_999), (1000, 900_000)].map(|(secrets, micros)| of(secrets, micros)),
            [1, 2, 21].map(|times| ANSWER_EVERY * times)
        );
    }

    #[test]
    fn a_position_is_in_the_line_that_contains_it() {
        let mut lines = Lines { text: b"a\nb\r\n\nc", at: 0, line: 1 };
        assert_eq!([0, 2, 2, 6, 99].map(|at| lines.line_of(at)), [1, 2, 2, 4, 4]);
    }
}
