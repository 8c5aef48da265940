//! Rotates the secret of a client that presents the secret itself.

use crate::{
    app::App,
    error::Error,
    frame::{
        act::Act,
        entry::{About, Author},
        idempotency::{IdempotencyKey, VALUES_REMEMBERED},
        targets::Site,
    },
    keys::place::SealPlace,
    secrets::rotate::Made,
};
use crossfade_authority::Client;
use crossfade_core::{
    RegistrationId, SecretId, Timestamp, TransitionHours,
    audit::{Actor, Event, Origin},
    oauth::OauthError,
    rotation::{self, RotationPlan, RotationRequest, Secret, SecretState, state_at},
    self_rotation::{self, Facts, Reply},
    text::Reason,
};
use crossfade_store::{Place, Remembered, Tx};
use tokio::time::Instant;

/// Operation of a self-rotation, as the trail names it where its response is repeated.
const OPERATION: &str = "self_rotate_secret";
/// Reason of every self-rotation, which nobody types.
const REASON: &str = "The client rotated its own secret.";

/// A request of a client to rotate its own secret.
#[derive(Clone, Copy, Debug)]
pub struct SelfRotation<'a> {
    /// The transition period.
    pub transition: TransitionHours,
    /// The key of the request.
    pub key: &'a IdempotencyKey,
    /// Origin of the request.
    pub origin: &'a Origin,
}

/// What the decision needs.
struct Known {
    place: Place,
    site: Site,
    open: Vec<Secret>,
    /// Answer to an earlier request with the same key.
    remembered: Option<Remembered>,
}

impl App {
    /// Replaces the current secret of a client that authenticated with it. The outer error is one of the server.
    pub async fn self_rotate_secret(
        &self,
        client: &Client,
        asked: &SelfRotation<'_>,
    ) -> Result<Result<Reply, OauthError>, Error> {
        self.node.unless_quarantined()?;
        let done = self.try_self_rotation(client, asked).await?;
        if let Err(refused) = &done {
            self.audit_refused_self_rotation(client, asked.origin, *refused).await;
        }
        Ok(done)
    }

    /// Records that a client presented a right secret and is refused to rotate it: at most once an hour for each reason,
    /// because a client can try again and again.
    pub async fn audit_refused_self_rotation(&self, client: &Client, origin: &Origin, refused: OauthError) {
        let (id, why) = (client.registration(), refused.description());
        if !self.refused_self_rotations.admit(&(id.clone(), why), Instant::now()) {
            return;
        }
        let place = match self.read(async |tx| Ok(tx.place_of_registration(id).await?)).await {
            Ok(place) => place,
            Err(error) => {
                tracing::error!(%error, "cannot write a refused self-rotation to the audit trail");
                return;
            }
        };
        let event = Event::AccessRefused {
            operation: OPERATION.to_owned(),
            code: refused.code().to_owned(),
            field: None,
            count: 1,
        };
        let target = Some(client.secret().to_string());
        let about = About { target, reason: Some(why), ..About::place(place.as_ref()) };
        let author = Author::client(place.as_ref()).at(origin);
        self.write_refusal(author.refusal(self.clock.now(), &event, about)).await;
    }

    async fn try_self_rotation(
        &self,
        client: &Client,
        asked: &SelfRotation<'_>,
    ) -> Result<Result<Reply, OauthError>, Error> {
        if !self.self_rotations.admit(client.registration(), Instant::now()) {
            return Ok(Err(OauthError::SlowDown));
        }
        let actor = client.bound_name();
        let Some(_running) = self.node.in_flight.enter(actor, asked.key.as_str()) else {
            return Ok(Err(OauthError::SlowDown));
        };
        // Without the write lock, so that a client that is refused delays no change.
        let refused = self
            .db
            .read(async |tx| {
                let now = self.clock.now();
                let Some(known) = known(tx, client, asked, now).await? else {
                    return Ok::<_, Error>(Some(OauthError::InvalidClient));
                };
                Ok(decide(tx, client.secret(), asked, &known, now).await?.err())
            })
            .await?;
        if let Some(refused) = refused {
            return Ok(Err(refused));
        }
        self.change_as(Actor::machine("serve"), async |act| {
            let now = act.now;
            let Some(known) = known(act.tx, client, asked, now).await? else {
                return Ok(Err(OauthError::InvalidClient));
            };
            let decided = match decide(act.tx, client.secret(), asked, &known, now).await? {
                Ok(decided) => decided,
                Err(refused) => return Ok(Err(refused)),
            };
            let author = Author::client(Some(&known.place)).at(asked.origin);
            let act = &mut act.on_behalf_of(author);
            match decided {
                Decided::Rotate(plan) => {
                    let reason = Reason::parse(Some(REASON))?;
                    let transition = asked.transition;
                    let made = Made { transition, reason: &reason, compromised: false, revoke_tokens: false };
                    let (rotation, incoming) = self.carry_out(act, &known.site, &plan, &made).await?;
                    let reply = Reply {
                        client_id: client.client_id().clone(),
                        client_secret: Some(incoming.value.reveal().to_owned()),
                        client_secret_expires_at: 0,
                        secret_id: incoming.id,
                        previous_secret_id: rotation.outgoing,
                        previous_secret_expires_at: plan.outgoing_expires_at.as_seconds(),
                        rotation_id: rotation.id,
                    };
                    self.remember_own(act, actor, asked.key, &reply).await?;
                    Ok(Ok(reply))
                }
                Decided::Repeat(reply, sealed) => {
                    let place = SealPlace::Answer { actor, key: asked.key.as_str() };
                    let value = self.vault.open(&place, &sealed)?;
                    let value = String::from_utf8(value.to_vec()).map_err(Error::internal)?;
                    let event = Event::SecretRevealed {
                        secret_id: reply.secret_id.clone(),
                        state: None,
                        replayed: Some(OPERATION.to_owned()),
                    };
                    let about = About {
                        target: Some(reply.secret_id.to_string()),
                        ..About::place(Some(&known.place))
                    };
                    act.audit(&event, about).await?;
                    act.tx.confirm_ends();
                    Ok(Ok(Reply { client_secret: Some(value), ..*reply }))
                }
            }
        })
        .await
    }

    async fn remember_own(
        &self,
        act: &mut Act<'_>,
        actor: &str,
        key: &IdempotencyKey,
        reply: &Reply,
    ) -> Result<(), Error> {
        let place = SealPlace::Answer { actor, key: key.as_str() };
        let value = reply.client_secret.as_deref().unwrap_or_default();
        let sealed = Some(self.vault.seal(&place, value.as_bytes())?);
        let reply = serde_json::to_string(&Reply { client_secret: None, ..reply.clone() });
        let reply = reply.map_err(Error::internal)?;
        let answer = Remembered { request: key.request().to_vec(), created_at: act.now, reply, sealed };
        Ok(act.tx.remember(actor, key.as_str(), &answer).await?)
    }
}

/// What is done with a request.
enum Decided {
    Rotate(RotationPlan),
    /// The response to the earlier request, and its sealed value.
    Repeat(Box<Reply>, Vec<u8>),
}

/// Loads what the decision needs; `None` if the client is deleted.
async fn known(
    tx: &mut Tx,
    client: &Client,
    asked: &SelfRotation<'_>,
    now: Timestamp,
) -> Result<Option<Known>, Error> {
    let id: &RegistrationId = client.registration();
    let Some(place) = tx.place_of_registration(id).await? else { return Ok(None) };
    let Some(owner) = tx.client(&place.client_id).await? else { return Ok(None) };
    let registration = tx.registration(&place.client_id, &place.environment).await?;
    let environment = tx.environment(&place.environment).await?;
    let (Some(registration), Some(environment)) = (registration, environment) else { return Ok(None) };
    let open = tx.open_secrets(id, now).await?;
    let remembered = tx.remembered(client.bound_name(), asked.key.as_str()).await?;
    let site = Site { client: owner, registration, environment };
    Ok(Some(Known { place, site, open, remembered }))
}

async fn decide(
    tx: &mut Tx,
    presented: &SecretId,
    asked: &SelfRotation<'_>,
    known: &Known,
    now: Timestamp,
) -> Result<Result<Decided, OauthError>, Error> {
    let registration = &known.site.registration;
    let facts = Facts {
        is_enabled: registration.disabled_at.is_none(),
        is_allowed: registration.self_rotation,
        presented,
        secrets: &known.open,
        last_at: tx.last_self_rotation(&registration.id).await?,
    };
    let checked = self_rotation::check(&facts, now);
    if let Some(remembered) = &known.remembered {
        // Authorised again: who may not rotate gets no answer again, either.
        if let Err(refused @ (OauthError::InvalidClient | OauthError::UnauthorizedClient(_))) = checked {
            return Ok(Err(refused));
        }
        return repeat(remembered, asked.key, &facts, now);
    }
    if let Err(refused) = checked {
        return Ok(Err(refused));
    }
    let request = RotationRequest {
        transition: asked.transition,
        expected_current: Some(presented.clone()),
        end_running_transition: false,
        compromised: false,
    };
    // What the rules of rotation refuse beyond the check is a transition.
    Ok(rotation::rotate(&known.open, &request, now)
        .map(Decided::Rotate)
        .map_err(|_| OauthError::TransitionInProgress))
}

/// Decides whether the answer to an earlier request is given again: to either secret of that rotation, while both are as
/// it left them, for a limited time.
fn repeat(
    remembered: &Remembered,
    key: &IdempotencyKey,
    facts: &Facts<'_>,
    now: Timestamp,
) -> Result<Result<Decided, OauthError>, Error> {
    if remembered.request != key.request() {
        let text = "This Idempotency-Key was already used for a different request. Nothing was changed.";
        return Ok(Err(OauthError::InvalidRequest(text)));
    }
    let reply: Reply = serde_json::from_str(&remembered.reply).map_err(Error::internal)?;
    let is_of_it = [&reply.secret_id, &reply.previous_secret_id].contains(&facts.presented);
    let is_current = |secret: &&Secret| {
        secret.id == reply.secret_id
            && state_at(secret.expires_at, secret.revoked_at, now) == SecretState::Current
    };
    let is_in_effect = facts.secrets.iter().any(|secret| is_current(&secret));
    let is_given = now < remembered.created_at.after(VALUES_REMEMBERED);
    match &remembered.sealed {
        Some(sealed) if is_of_it && is_in_effect && is_given => {
            Ok(Ok(Decided::Repeat(Box::new(reply), sealed.clone())))
        }
        _ => Ok(Err(OauthError::RotationOver)),
    }
}
