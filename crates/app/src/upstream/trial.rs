//! Tests of an upstream credential that a person asks for.

use super::{
    credential::{audit, upstream_of},
    outcomes::UpstreamOutcome,
};
use crate::{
    app::App,
    error::Error,
    frame::{
        idempotency::Repeatable,
        request::{NoInput, Request},
        targets::{RegistrationPath, Site},
    },
    keys::place::SealPlace,
};
use crossfade_core::{
    Code, OauthClientId, Operation, Problem, RegistrationId,
    api::{TestedSlot, UpstreamCredentialTested},
    audit::Event,
    upstream::{BasicEncoding, CredentialMethod, Endpoint, IssuerKind, TestOutcome, Upstream, origin},
};
use crossfade_outbound::{Destination, Relay, SentCredential, SentSecret, Trial};
use crossfade_store::{ChangeKind, UpstreamCredential};
use tokio::time::Instant;
use zeroize::Zeroizing;

impl Repeatable for UpstreamCredentialTested {}

/// A credential to test, and where.
struct Asked {
    registration: RegistrationId,
    client_id: OauthClientId,
    method: CredentialMethod,
    encoding: BasicEncoding,
    secrets: Vec<SentSecret>,
    kind: IssuerKind,
    pseudonym: String,
    /// Name of the server, its endpoint, and its URL; `None` if the credential is confirmed for none.
    at: Option<(String, Endpoint, Destination)>,
}

impl App {
    /// Tests the upstream credential of a registration at its issuer. The test is recorded before the first request leaves.
    pub async fn test_upstream_credential(
        &self,
        request: &Request<'_>,
        path: RegistrationPath<'_>,
        input: NoInput<'_>,
    ) -> Result<UpstreamCredentialTested, Error> {
        let mut begun = None;
        let operation = Operation::TestUpstreamCredential;
        let tested = self.change(operation, request, path, async |act, _, site: Site| {
            act.matches_list()?;
            input.check()?;
            let upstream = upstream_of(&site)?;
            let stored = act.tx.upstream_credential(&site.registration.id).await?;
            let mut tested = UpstreamCredentialTested {
                tested_at: act.now,
                server: None,
                basic_encoding: stored.as_ref().map(|stored| stored.encoding),
                slots: Vec::new(),
            };
            let Some(stored) = stored else { return Ok(tested) };
            if !self.upstream_tests.admit(&site.registration.id, Instant::now()) {
                let text = "This upstream credential was tested several times lately. Nothing was sent. Try again in 20 \
                    seconds.";
                return Err(Problem::new(Code::TooManyRequests, text).retry_after(20).into());
            }
            let slots = stored.slots.iter().map(|slot| slot.slot).collect();
            audit(act, &site, &Event::UpstreamCredentialTested { slots }).await?;
            let asked = self.asked(&site, upstream, &stored)?;
            tested.server = asked.at.as_ref().map(|(name, ..)| name.clone());
            let nothing = |slot| TestedSlot { slot, outcome: TestOutcome::Undecided, response: None };
            tested.slots = stored.slots.iter().map(|slot| nothing(slot.slot)).collect();
            begun = Some((asked, site));
            Ok(tested)
        });
        let mut tested = tested.await?;
        // A repeated request has begun nothing.
        let Some((mut asked, site)) = begun else { return Ok(tested) };
        let before = asked.encoding;
        tested.slots = self.try_secrets(&mut asked).await;
        if asked.encoding != before {
            let (id, after) = (&asked.registration, asked.encoding);
            self.change_as(request.principal.author(), async |act| {
                // A person can have set another credential since then, for which it is as true.
                if act.tx.set_upstream_encoding(id, after).await? {
                    act.changed(ChangeKind::Registration(id.clone())).await?;
                    audit(act, &site, &Event::UpstreamCredentialEncodingFound { before, after }).await?;
                }
                Ok(())
            })
            .await?;
            tested.basic_encoding = Some(after);
        }
        self.store_upstream_outcomes().await?;
        Ok(tested)
    }

    fn asked(&self, site: &Site, upstream: &Upstream, stored: &UpstreamCredential) -> Result<Asked, Error> {
        let open = |slot: &crossfade_store::UpstreamSlot| {
            let place =
                SealPlace::UpstreamCredential { registration: &site.registration.id, slot: slot.slot };
            let opened = self.vault.open(&place, &slot.sealed)?;
            let value = std::str::from_utf8(&opened).map_err(Error::internal)?;
            Ok(SentSecret { slot: slot.slot, value: Zeroizing::new(value.to_owned()), set_at: slot.set_at })
        };
        let endpoints = [Endpoint::Revocation, Endpoint::Token];
        let at = upstream.servers.iter().find_map(|server| {
            let (endpoint, url) = endpoints.into_iter().find_map(|endpoint| {
                let url = server.endpoint(endpoint)?;
                origin(url).is_some_and(|origin| stored.origins.contains(&origin)).then_some((endpoint, url))
            })?;
            // The networks that are allowed can be others than when the URL was set.
            let to = self.posting.poster.destination(url).ok()?;
            Some((server.name.clone(), endpoint, to))
        });
        Ok(Asked {
            registration: site.registration.id.clone(),
            client_id: site.registration.oauth_client_id.clone(),
            method: stored.method,
            encoding: stored.encoding,
            secrets: stored.slots.iter().map(open).collect::<Result<_, Error>>()?,
            kind: upstream.kind,
            pseudonym: self.pseudonym(site.environment.slug.as_str()),
            at,
        })
    }

    /// Tries each secret once, and in the other encoding if it was not accepted. Which encoding the issuer reads is found with
    /// the first secret that it accepts.
    async fn try_secrets(&self, asked: &mut Asked) -> Vec<TestedSlot> {
        let mut tested = Vec::new();
        let secrets = std::mem::take(&mut asked.secrets);
        for secret in &secrets {
            let (mut outcome, mut response) = try_secret(&self.relay, asked, asked.encoding, secret).await;
            let other = asked.encoding.alternative(asked.client_id.as_str(), &secret.value);
            let other = other.filter(|_| asked.method == CredentialMethod::ClientSecretBasic);
            if let (TestOutcome::Refused, Some(other)) = (outcome, other) {
                let again = try_secret(&self.relay, asked, other, secret).await;
                if again.0 == TestOutcome::Accepted {
                    (outcome, response) = again;
                    asked.encoding = other;
                }
            }
            // Without an answer that tells, what was known before stays.
            let said = match outcome {
                TestOutcome::Accepted => Some(UpstreamOutcome::Accepted),
                TestOutcome::Refused => Some(UpstreamOutcome::Refused(response.clone())),
                TestOutcome::Undecided => None,
            };
            if let Some(said) = said {
                self.note_upstream_outcome(&asked.registration, secret.slot, secret.set_at, &said);
            }
            tested.push(TestedSlot { slot: secret.slot, outcome, response: Some(response) });
        }
        tested
    }
}

async fn try_secret(
    relay: &Relay,
    asked: &Asked,
    encoding: BasicEncoding,
    secret: &SentSecret,
) -> (TestOutcome, String) {
    let Some((_, endpoint, to)) = &asked.at else {
        return (TestOutcome::Undecided, "not_confirmed".to_owned());
    };
    let credential = SentCredential {
        registration: &asked.registration,
        client_id: asked.client_id.as_str(),
        method: asked.method,
        encoding,
        secrets: Vec::new(),
    };
    let trial = Trial { endpoint: *endpoint, to, kind: asked.kind, pseudonym: &asked.pseudonym };
    relay.try_secret(trial, &credential, secret).await
}
