//! Learns the secret that the callers of a registration have, because the issuer accepts it. So a client is taken over without an
//! export of the issuer.

use super::credential::audit;
use crate::{
    app::App,
    error::Error,
    frame::{act::Act, targets::Site},
    keys::place::SealPlace,
    upstream::relay::Passing,
};
use crossfade_authority::{Environment, bound_name};
use crossfade_core::{
    RegistrationId, RotationId, SecretId, TransitionHours,
    audit::{Actor, Event},
    base62,
    rotation::Secret,
    secret::SecretOrigin,
    upstream::{
        BasicEncoding, CredentialMethod, Endpoint, LEARNED_BEFORE, Refused, Server, Slot, SlotState,
        TestOutcome,
    },
};
use crossfade_outbound::{RelayFailure, Relayed, SentCredential, SentSecret, Trial};
use crossfade_store::{ChangeKind, Rotation, SecretRow, SlotOutcome, UpstreamCredential};
use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};
use tokio::time::Instant;
use zeroize::Zeroizing;

/// Longest secret that is verified, in bytes, and the shortest that is learned: once it is verified here, no lockout of the issuer
/// protects it from guesses.
const LONGEST: usize = 256;
const SHORTEST: usize = 16;
/// Number of letters and digits of a secret that nobody has: 256 random bits.
const MADE_UP: usize = 43;

/// A secret that a caller of a registration without a secret sent. Has no `Debug`, which would show it.
pub struct Learnable {
    /// The registration.
    pub registration: RegistrationId,
    /// Its `client_id`.
    pub client_id: String,
    /// How it was sent.
    pub method: CredentialMethod,
    /// The secret, if it can be read in one way only; otherwise the reading of a form.
    pub secret: Zeroizing<String>,
    /// How it is written into the `Authorization` header, if it can be read in one way only.
    pub encoding: BasicEncoding,
    /// The secret as it was sent, and as it would be in a URL, if these are other readings.
    pub further_readings: Vec<Zeroizing<String>>,
    /// Whether an access token proves that the issuer knows the client by this secret.
    pub is_proof: bool,
}

/// A secret as the issuer reads it, and how it is sent from now on.
struct Read {
    secret: Zeroizing<String>,
    encoding: BasicEncoding,
}

/// Registrations that learn a secret at this moment. Many requests with it come at the same time.
#[derive(Default)]
pub(crate) struct Learnings(Mutex<BTreeSet<String>>);

/// The learning of a registration, until it is dropped.
struct Learning<'a>(&'a Learnings, String);

impl Learnings {
    /// Returns `None` if the registration learns already.
    fn begin(&self, registration: &RegistrationId) -> Option<Learning<'_>> {
        let name = registration.to_string();
        let is_new = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone());
        // Not made for nothing: its end is that of the learning.
        is_new.then(|| Learning(self, name))
    }
}

impl Drop for Learning<'_> {
    fn drop(&mut self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

/// What the issuer says about a secret that nobody has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum MadeUp {
    Refused,
    Accepted,
}

impl App {
    /// Forwards a request with a secret that its registration can learn, as it is. If the issuer answers with an access token, the
    /// secret is learned. Must run to its end, also if the caller hangs up. Also returns whether the secret was learned.
    pub async fn pass_to_learn(
        &self,
        environment: &Environment,
        learnable: &Learnable,
        asked: Passing<'_>,
    ) -> Result<(Relayed, bool), RelayFailure> {
        let (server, endpoint) = (asked.server, asked.endpoint);
        let answer = self.pass_on(environment, asked).await?;
        if endpoint != Endpoint::Token || !learnable.is_proof || !answer.has_access_token() {
            return Ok((answer, false));
        }
        let learned = self.learn(environment, server, learnable).await.unwrap_or_else(|error| {
            let registration = &learnable.registration;
            tracing::warn!(%registration, %error, "cannot learn a secret that the issuer accepts");
            false
        });
        Ok((answer, learned))
    }

    async fn learn(
        &self,
        environment: &Environment,
        server: &Server,
        learnable: &Learnable,
    ) -> Result<bool, Error> {
        let id = &learnable.registration;
        let Some(_learning) = self.learnings.begin(id) else { return Ok(false) };
        // Each request that the issuer accepts comes here until the secret is learned, also while none can be stored.
        if !self.learnings_of_one.admit(id, Instant::now()) {
            return Ok(false);
        }
        if !std::iter::once(&learnable.secret).chain(&learnable.further_readings).all(|it| can_be_kept(it)) {
            tracing::warn!(
                registration = %id,
                "a secret that the issuer accepts is too short or too long to be learned"
            );
            return Ok(false);
        }
        let adoption = self.db.read::<_, Error>(async |tx| Ok(tx.adoption(id).await?)).await?;
        if adoption.is_none_or(|it| it.is_public) {
            return Ok(false);
        }
        let mut bits = [0; 32];
        self.random.fill(&mut bits);
        let nobodys = Zeroizing::new(base62::encode_fixed(&bits, MADE_UP));
        // Each time: the client can be another one at the issuer since, or the issuer can have another server.
        let nobodys = (&nobodys, learnable.encoding);
        let tried =
            self.try_secret(environment, server, learnable, nobodys, async |trial, credential, secret| {
                self.relay.try_secret(trial, credential, secret).await.0
            });
        let made_up = match tried.await {
            Some(TestOutcome::Accepted) => MadeUp::Accepted,
            Some(TestOutcome::Refused) => MadeUp::Refused,
            // Another request tries again.
            Some(TestOutcome::Undecided) | None => return Ok(false),
        };
        let read = match made_up {
            // Nothing is learned, however it is read.
            MadeUp::Accepted => Some(Read { secret: learnable.secret.clone(), encoding: learnable.encoding }),
            MadeUp::Refused => self.reading_of_issuer(environment, server, learnable).await,
        };
        let Some(read) = read else { return Ok(false) };
        let origins = environment.upstream().map(|upstream| upstream.origins()).unwrap_or_default();
        let learned = self.stored_here(Actor::policy("adopt", "Adoption by use"), async |act| {
            self.store_learned(act, learnable, &read, (made_up, &origins)).await
        });
        learned.await.map(|(is_learned, _)| is_learned)
    }

    /// Returns the secret as the issuer reads it; `None` if that cannot be found out now.
    async fn reading_of_issuer(
        &self,
        environment: &Environment,
        server: &Server,
        learnable: &Learnable,
    ) -> Option<Read> {
        let Some((raw, of_url)) = learnable.further_readings.split_first() else {
            return Some(Read { secret: learnable.secret.clone(), encoding: learnable.encoding });
        };
        for secret in std::iter::once(&learnable.secret).chain(of_url) {
            let encoding = BasicEncoding::Percent;
            let is_right = self
                .try_secret(
                    environment,
                    server,
                    learnable,
                    (secret, encoding),
                    async |trial, credential, secret| {
                        self.relay.try_beside_refused(trial, credential, secret).await
                    },
                )
                .await??;
            if is_right {
                return Some(Read { secret: secret.clone(), encoding });
            }
        }
        Some(Read { secret: raw.clone(), encoding: BasicEncoding::Raw })
    }

    /// Tests a secret of the client at the issuer in one way, without a token. `None` if the issuer has no usable address.
    async fn try_secret<T>(
        &self,
        environment: &Environment,
        server: &Server,
        learnable: &Learnable,
        (value, encoding): (&Zeroizing<String>, BasicEncoding),
        test: impl AsyncFnOnce(Trial<'_>, &SentCredential<'_>, &SentSecret) -> T,
    ) -> Option<T> {
        let to = self.relay.destination(&server.token_endpoint)?;
        let upstream = environment.upstream()?;
        let secret = SentSecret { slot: Slot::Current, value: value.clone(), set_at: self.clock.now() };
        let credential = SentCredential {
            registration: &learnable.registration,
            client_id: &learnable.client_id,
            method: learnable.method,
            encoding,
            secrets: Vec::new(),
        };
        let trial = Trial {
            // Some issuers let everybody revoke.
            endpoint: Endpoint::Token,
            to: &to,
            kind: upstream.kind,
            pseudonym: &self.pseudonym(environment.slug().as_str()),
        };
        Some(test(trial, &credential, &secret).await)
    }

    /// Stores a secret that the issuer accepted, unless the registration must not learn it any more. Returns whether it did.
    async fn store_learned(
        &self,
        act: &mut Act<'_>,
        learnable: &Learnable,
        read: &Read,
        (made_up, origins): (MadeUp, &BTreeSet<String>),
    ) -> Result<bool, Error> {
        // The database can have been restored while the issuer was asked.
        self.node.unless_quarantined()?;
        let id = &learnable.registration;
        let Some(place) = act.tx.place_of_registration(id).await? else { return Ok(false) };
        let (client, slug) = (act.tx.client(&place.client_id).await?, &place.environment);
        let registration = act.tx.registration(&place.client_id, slug).await?;
        let environment = act.tx.environment(slug).await?;
        let (Some(client), Some(registration), Some(environment)) = (client, registration, environment)
        else {
            return Ok(false);
        };
        let Some(upstream) = environment.upstream.clone() else { return Ok(false) };
        let adopts = environment.adopt_until.is_some_and(|until| act.now < until);
        let Some(adoption) = act.tx.adoption(id).await?.filter(|it| !it.is_public) else { return Ok(false) };
        if !adopts || registration.disabled_at.is_some() {
            return Ok(false);
        }
        let site = Site { client, registration, environment };
        let is_public = made_up == MadeUp::Accepted;
        if is_public || adoption.tested_at.is_none() {
            act.tx.set_adoption_tested(id, act.now, is_public).await?;
        }
        if is_public {
            act.changed(ChangeKind::Registration(id.clone())).await?;
            let event = Event::PublicClientFound { registration_id: id.clone() };
            return audit(act, &site, &event).await.map(|()| false);
        }
        // Another node can have learned it, or a person can have rotated.
        let known = act.tx.secrets_by_value(&self.authority.value_digests(&read.secret)).await?;
        if known.iter().any(|it| it.registration_id == *id) {
            return Ok(false);
        }
        let before = match act.tx.newest_secret_number(id).await? {
            0 => None,
            1 => {
                let open = act.tx.valid_secrets_of(id, act.now).await?.pop();
                let Some(open) = open.filter(|it| it.origin == SecretOrigin::Imported) else {
                    return Ok(false);
                };
                Some(open.rule)
            }
            _ => return Ok(false),
        };
        self.add_learned(act, &site, (learnable.method, &read.secret), before.as_ref()).await?;
        // The secret was proved at the servers of that time.
        let origins = upstream.origins().intersection(origins).cloned().collect();
        self.set_learned_credential(act, learnable, read, origins).await?;
        act.secrets_changed(id).await?;
        Ok(true)
    }

    /// Adds a learned secret. Of two, the second one is current, and the first one stays valid: nobody knows which of them the
    /// callers are to have in the end.
    async fn add_learned(
        &self,
        act: &mut Act<'_>,
        site: &Site,
        (method, secret): (CredentialMethod, &str),
        before: Option<&Secret>,
    ) -> Result<(), Error> {
        let registration = &site.registration;
        let name =
            bound_name(site.environment.issuer_mode(), &registration.oauth_client_id, &registration.id);
        let no_key = || Error::internal("no verifier key");
        let (digest_key, digest) = self.authority.digest(name, secret).ok_or_else(no_key)?;
        let value_digest = self.authority.value_digest(secret).ok_or_else(no_key)?;
        let id = SecretId::generate(self.random.as_ref());
        let previous_expires_at = before.map(|_| act.now.after(LEARNED_BEFORE));
        if let Some(before) = before {
            act.tx.set_secret_end(&before.id, previous_expires_at, None).await?;
        }
        let row = SecretRow {
            id: id.clone(),
            registration_id: registration.id.clone(),
            number: act.tx.newest_secret_number(&registration.id).await? + 1,
            created_at: act.now,
            digest: digest.to_vec(),
            value_digest: value_digest.to_vec(),
            digest_key,
            // Its value is the upstream credential, which nobody can read.
            sealed: None,
            origin: SecretOrigin::Imported,
        };
        act.tx.insert_secret(&row).await?;
        if let Some(before) = before {
            let rotation = Rotation {
                id: RotationId::generate(self.random.as_ref()),
                registration_id: registration.id.clone(),
                number: act.tx.newest_rotation_number(&registration.id).await? + 1,
                actor: act.by.actor.clone(),
                rotated_at: act.now,
                transition: TransitionHours::MAX,
                reason: "A second secret of the upstream issuer was learned".to_owned(),
                compromised: false,
                outgoing: before.id.clone(),
                incoming: id.clone(),
                decided: None,
            };
            act.tx.insert_rotation(&rotation).await?;
        }
        let event = Event::SecretLearned {
            secret_id: id,
            method,
            previous_secret_id: before.map(|before| before.id.clone()),
            previous_expires_at,
        };
        audit(act, site, &event).await
    }

    /// Keeps a learned secret as the upstream credential: the first one as `current`, the second one as `next`. What a person has set
    /// stays.
    async fn set_learned_credential(
        &self,
        act: &mut Act<'_>,
        learnable: &Learnable,
        read: &Read,
        origins: BTreeSet<String>,
    ) -> Result<(), Error> {
        let id = &learnable.registration;
        let stored = act.tx.upstream_credential(id).await?;
        let slot = match &stored {
            None => Slot::Current,
            Some(stored) if stored.slots.iter().any(|it| it.slot == Slot::Next) => return Ok(()),
            Some(_) => Slot::Next,
        };
        let (method, encoding) = match &stored {
            None => (learnable.method, read.encoding),
            Some(stored) => (stored.method, stored.encoding),
        };
        if stored.is_none() {
            let credential = UpstreamCredential {
                registration_id: id.clone(),
                method,
                encoding,
                origins: origins.into_iter().collect(),
                leading_slot: Slot::Current,
                version: 1,
                refused: Refused::default(),
                slots: Vec::new(),
            };
            act.tx.set_upstream_credential(&credential).await?;
            act.tx.set_upstream_encoding(id, encoding).await?;
        }
        let place = SealPlace::UpstreamCredential { registration: id, slot };
        let sealed = self.vault.seal(&place, read.secret.as_bytes())?;
        act.tx.set_upstream_slot(id, slot, &sealed, act.now).await?;
        if (method, encoding) != (learnable.method, read.encoding) {
            // It is sent in another way than the one that the issuer has accepted.
            return Ok(());
        }
        let outcome = SlotOutcome {
            registration_id: id.clone(),
            slot,
            set_at: act.now,
            state: SlotState::Ok,
            last_ok_at: Some(act.now),
            last_error: None,
        };
        act.tx.note_upstream_outcome(&outcome).await.map(drop).map_err(Into::into)
    }
}

/// Whether a secret can be verified and sent again.
fn can_be_kept(secret: &str) -> bool {
    (SHORTEST..=LONGEST).contains(&secret.len()) && !secret.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_learns_one_secret_at_a_time() {
        let learnings = Learnings::default();
        let [one, other] = [1, 2].map(|n| RegistrationId::parse(&format!("reg_{n:022}")).unwrap());
        let first = learnings.begin(&one);
        assert!(first.is_some() && learnings.begin(&other).is_some());
        assert!((0..2).all(|_| learnings.begin(&one).is_none()));
        drop(first);
        assert!(learnings.begin(&one).is_some());
    }

    #[test]
    fn only_what_can_be_verified_and_sent_again_is_kept() {
        for kept in ["0123456789abcdef", "0123456789 b+%:é", &"x".repeat(LONGEST)] {
            assert!(can_be_kept(kept), "{kept}");
        }
        for not in
            ["", "0123456789abcde", "0123456789abcde\nb", "0123456789abcdef\u{7f}", &"x".repeat(LONGEST + 1)]
        {
            assert!(!can_be_kept(not), "{not}");
        }
    }
}
