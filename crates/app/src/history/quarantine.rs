//! The quarantine: what the database holds as valid, and its release.

use crate::{
    app::App,
    error::Error,
    frame::{
        act::Act,
        entry::About,
        idempotency::Repeatable,
        principal::Principal,
        request::{Input, Request},
        targets::Platform,
    },
    node::state::Node,
    people::hand_over::hand_over_ended,
};
use crossfade_core::{
    Code, GrantId, Operation, Problem, Random, Timestamp, TokenId, UserId,
    api::{HeldGrant, HeldSecret, HeldToken, Quarantine, QuarantineReleased, ReleaseQuarantine},
    audit::{Actor, Event},
    base62,
    ended::Cause,
    text::Reason,
};
use crossfade_store::{ChangeKind, QuarantineRow, Tx, User, ValidSecrets};
use std::sync::{PoisonError, atomic::Ordering};

impl Repeatable for QuarantineReleased {}

/// Maximum number of shown items of each kind.
const SHOWN: usize = 1000;
/// How far a release moves the generations of tokens: further than the lost changes can have moved them.
const GENERATIONS: i64 = 1_000_000;

impl Node {
    /// Returns the quarantine that this node's tables know of.
    pub(crate) fn quarantine(&self) -> Option<QuarantineRow> {
        *self.quarantine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the quarantine as it is in the database.
    pub(crate) fn set_quarantine(&self, found: Option<QuarantineRow>) {
        let mut known = self.quarantine.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*known, &found) {
            (None, Some(found)) => {
                tracing::error!(
                    cause = found.cause.as_str(),
                    since = %found.since,
                    "the instance is in quarantine: it issues no tokens and changes nothing until it is released"
                );
            }
            (Some(_), None) => {
                tracing::warn!("the quarantine has ended");
                self.releases.fetch_add(1, Ordering::SeqCst);
            }
            _ => {}
        }
        self.is_held.store(found.is_some(), Ordering::SeqCst);
        *known = found;
    }

    /// Refuses a change during a quarantine.
    pub(crate) fn unless_quarantined(&self) -> Result<(), Error> {
        self.quarantine().map_or(Ok(()), |row| Err(quarantined(row).into()))
    }
}

/// Returns the refusal of a change during a quarantine.
fn quarantined(QuarantineRow { since, cause, .. }: QuarantineRow) -> Problem {
    let text = format!(
        "This instance has been in quarantine since {since}: it issues no tokens and changes nothing. {} Nothing was changed. \
        An Owner can release it in the Console, or with crossfade quarantine release on the server.",
        cause.sentence()
    );
    Problem::new(Code::Quarantined, text)
}

/// Refuses the change of a local command, beside which no server may run, during a quarantine.
pub(crate) async fn unless_quarantined(tx: &mut Tx) -> Result<(), Error> {
    tx.quarantine().await?.map_or(Ok(()), |row| Err(quarantined(row).into()))
}

impl App {
    /// Returns why and since when the instance is in quarantine, as far as this node's tables know.
    pub fn quarantine(&self) -> Option<(Cause, Timestamp)> {
        self.node.quarantine().map(|row| (row.cause, row.since))
    }

    /// Returns the quarantine, and what the database holds as valid.
    pub async fn read_quarantine(&self, principal: &Principal) -> Result<Quarantine, Error> {
        self.view(Operation::ReadQuarantine, principal, Platform, async |tx, _, ()| {
            held(tx, self.clock.now()).await
        })
        .await
    }

    /// Returns the quarantine, and what the database holds as valid, for a local command.
    pub async fn read_quarantine_here(&self) -> Result<Quarantine, Error> {
        self.read(async |tx| held(tx, self.clock.now()).await).await
    }

    /// Ends the quarantine. What is excepted ends for good.
    pub async fn release_quarantine(
        &self,
        request: &Request<'_>,
        input: Input<'_, ReleaseQuarantine>,
    ) -> Result<QuarantineReleased, Error> {
        let released = self
            .change(Operation::ReleaseQuarantine, request, Platform, async |act, _, ()| {
                act.matches_list()?;
                release(act, &input.read()?, self.random.as_ref()).await
            })
            .await?;
        self.node.tend_journal().await;
        Ok(released)
    }

    /// Ends the quarantine for a local command.
    pub async fn release_quarantine_here(
        &self,
        body: &ReleaseQuarantine,
    ) -> Result<QuarantineReleased, Error> {
        let actor = Actor::machine("quarantine release");
        let released =
            self.change_as(actor, async |act| release(act, body, self.random.as_ref()).await).await?;
        // A server that is running beside this command does it within a second.
        self.node.tend_journal().await;
        Ok(released)
    }
}

async fn held(tx: &mut Tx, now: Timestamp) -> Result<Quarantine, Error> {
    let row = tx.quarantine().await?;
    let limit = SHOWN as i64 + 1;
    let (mut secrets, mut tokens, mut grants) =
        (tx.held_secrets(now, limit).await?, tx.held_tokens(now, limit).await?, tx.held_grants(limit).await?);
    let is_complete = [secrets.len(), tokens.len(), grants.len()].iter().all(|number| *number <= SHOWN);
    secrets.truncate(SHOWN);
    tokens.truncate(SHOWN);
    grants.truncate(SHOWN);
    Ok(Quarantine {
        cause: row.map(|row| row.cause),
        since: row.map(|row| row.since),
        data_until: row.map(|row| row.data_until),
        is_complete,
        secrets: secrets
            .into_iter()
            .map(|row| HeldSecret {
                client_id: row.client_id,
                client: row.client,
                environment: row.environment,
                registration_id: row.registration_id,
                oauth_client_id: row.oauth_client_id,
                secret_id: row.secret_id,
                created_at: row.created_at,
                expires_at: row.expires_at,
                last_used_at: row.last_used_at,
            })
            .collect(),
        tokens: tokens
            .into_iter()
            .map(|row| HeldToken {
                id: row.id,
                name: row.name,
                user_id: row.user_id,
                user: row.user,
                created_at: row.created_at,
                last_used_at: row.last_used_at,
            })
            .collect(),
        grants: grants
            .into_iter()
            .map(|row| HeldGrant {
                id: row.id,
                role: row.role,
                user_id: row.user_id,
                user: row.user,
                property_id: row.property_id,
                client_id: row.client_id,
            })
            .collect(),
    })
}

async fn release(
    act: &mut Act<'_>,
    body: &ReleaseQuarantine,
    random: &dyn Random,
) -> Result<QuarantineReleased, Error> {
    let reason = Reason::required(body.reason.as_deref())?;
    let Some(quarantine) = act.tx.quarantine().await? else {
        let text = "The instance is not in quarantine. Nothing was changed.";
        return Err(Problem::new(Code::NotQuarantined, text).into());
    };
    let mut gone = Vec::new();
    for id in &body.except {
        gone.extend(refuse(act.tx, id, act.now).await?);
    }
    if act.tx.owners().await?.is_empty() {
        let text = "No Owner would be left. Nothing was changed. Release the grant of an Owner, too.";
        return Err(Problem::new(Code::LastOwner, text).with_field("except").into());
    }
    // Revocations of access tokens may be missing, and nobody can see which.
    act.tx.end_all_access_tokens(GENERATIONS).await?;
    // The next journal is adopted, and the server that the database is on now is remembered.
    act.tx.set_noting(false).await?;
    let mut id = [0; 16];
    random.fill(&mut id);
    act.tx.set_released(&base62::encode_fixed(&id, 22)).await?;
    act.tx.end_quarantine().await?;
    act.changed(ChangeKind::Everything).await?;
    let ValidSecrets { current, retiring } = act.tx.valid_secrets(act.now).await?;
    let event = Event::QuarantineReleased {
        cause: quarantine.cause,
        since: quarantine.since,
        current_secrets: current,
        retiring_secrets: retiring,
        except: body.except.clone(),
    };
    act.audit(&event, About { reason: Some(reason.as_str()), ..About::default() }).await?;
    // After everything that is not released has ended: none of it inherits.
    for account in &gone {
        hand_over_ended(act, random, account).await?;
    }
    Ok(QuarantineReleased { released_at: act.now, current_secrets: current, retiring_secrets: retiring })
}

/// Ends what must not be released: all secrets of a client or a registration by disabling it, a token, an account or a
/// grant. Returns the account, if it is one.
async fn refuse(tx: &mut Tx, id: &str, now: Timestamp) -> Result<Option<User>, Error> {
    let mut gone = None;
    let is_known = if id.starts_with("cl_") || id.starts_with("reg_") {
        tx.disable_registrations(id, now).await?
    } else if let Ok(id) = TokenId::parse(id) {
        let is_known = tx.token(&id).await?.is_some();
        tx.delete_token(&id, now).await?;
        is_known
    } else if let Ok(id) = UserId::parse(id) {
        gone = tx.user(&id).await?;
        if gone.is_some() {
            tx.delete_user(&id, now).await?;
        }
        gone.is_some()
    } else if let Ok(id) = GrantId::parse(id) {
        let is_known = tx.grant(&id).await?.is_some();
        tx.delete_grant(&id).await?;
        is_known
    } else {
        false
    };
    if is_known {
        return Ok(gone);
    }
    let what =
        "must contain only IDs of clients, registrations, API tokens, accounts and grants of this instance";
    Err(Problem::invalid("except", what).into())
}
