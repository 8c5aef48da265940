//! Adding a passkey to the own account.

use super::{
    answers::{PasskeyAnswer, PasskeyRequest, can_use_passkey, not_offered},
    ceremony::{AnswerFault, Holder},
    state::{AskedFor, Purpose},
};
use crate::{
    app::App,
    error::Error,
    keys::place::SealPlace,
    people::{
        factors::{Added, own_user},
        sessions::{Session, Visitor},
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use crossfade_core::{
    Code, FactorId, Problem,
    second_factor::{FactorKind, MAX_FACTORS},
    text::Name,
};
use crossfade_store::FactorRow;

/// Length of the random value that stands for an account in its passkeys, in bytes.
const HANDLE_BYTES: usize = 32;

impl App {
    /// Asks a browser for a new passkey.
    pub async fn begin_passkey(&self, session: &Session) -> Result<PasskeyRequest, Error> {
        self.node.unless_quarantined()?;
        let ceremonies = self.passkeys.as_ref().ok_or_else(not_offered)?;
        let now = self.clock.now();
        let (user, factors) = self
            .read(async |tx| {
                let principal = session.principal.refreshed(tx, now).await?;
                let user = own_user(tx, &principal).await?;
                let factors = tx.factors(&user.id).await?;
                if !can_use_passkey(tx, &user).await? {
                    let text = "A passkey signs in only where a password could, and your account cannot use one. Nothing was changed. Sign in with your provider.";
                    return Err(Problem::new(Code::Forbidden, text).into());
                }
                Ok((user, factors))
            })
            .await?;
        unless_full(&factors, "")?;
        let known = self.open_passkeys(&factors)?;
        let handle = match known.first() {
            // A device that makes another one replaces the one that it has for the same handle.
            Some(known) => known.handle.clone(),
            None => {
                let mut bytes = [0; HANDLE_BYTES];
                self.random.fill(&mut bytes);
                URL_SAFE_NO_PAD.encode(bytes)
            }
        };
        let bytes = URL_SAFE_NO_PAD.decode(&handle).map_err(Error::internal)?;
        let email = user.email.as_deref().unwrap_or(user.id.as_str());
        let begun = ceremonies.begin_adding(&Holder { handle: &bytes, email, name: &user.name }, &known)?;
        let asked = AskedFor { state: begun.state, handle, at: now };
        let state = self.passkey_states.seal(Purpose::Add(&session.id), &asked)?;
        Ok(PasskeyRequest { options: begun.options, state })
    }

    /// Adds a passkey with the answer of a browser. It counts as every factor does: see [`App::add_factor`].
    pub async fn add_passkey(
        &self,
        session: &Session,
        name: &str,
        answer: PasskeyAnswer<'_>,
        visitor: &Visitor,
    ) -> Result<Added, Error> {
        self.node.unless_quarantined()?;
        let ceremonies = self.passkeys.as_ref().ok_or_else(not_offered)?;
        let name = Name::parse("name", name)?;
        let id = FactorId::generate(self.random.as_ref());
        self.change_own(&session.principal, async |act, principal| {
            let user = own_user(act.tx, principal).await?;
            let factors = act.tx.factors(&user.id).await?;
            unless_full(&factors, name.as_str())?;
            let purpose = Purpose::Add(&session.id);
            let asked = self.passkey_states.open(purpose, answer.state, act.now);
            let asked = asked.ok_or_else(|| refused("The passkey took longer than 5 minutes."))?;
            let added = ceremonies.finish_adding(answer.credential, &asked.state, asked.handle.clone());
            let passkey = added.map_err(|fault| match fault {
                AnswerFault::NotVerified => refused(
                    "The device has not checked who you are, for example with a PIN or a fingerprint.",
                ),
                AnswerFault::Wrong | AnswerFault::Copied => {
                    refused("The answer of the passkey is not valid.")
                }
            })?;
            let place = SealPlace::Factor { user: &user.id, factor: &id };
            let row = FactorRow {
                id: id.clone(),
                user_id: user.id.clone(),
                kind: FactorKind::Passkey,
                name: name.to_string(),
                sealed: self.vault.seal(&place, &passkey.to_bytes()?)?,
                created_at: act.now,
                confirmed_at: Some(act.now),
                last_used_at: None,
                last_step: 0,
            };
            let is_first = !act.tx.factor_standing(&user.id).await?.has_factor;
            let is_taken = act.tx.take_passkey_challenge(&asked.digest(), asked.until(), act.now).await?;
            if !is_taken || !act.tx.insert_passkey(&row, &passkey.id()).await? {
                return Err(refused("This passkey was added before.").into());
            }
            self.count_factor(act, principal, (&user, &row), (is_first, visitor)).await
        })
        .await
    }
}

/// Refuses one factor too many, and the name of another.
pub(crate) fn unless_full(factors: &[FactorRow], name: &str) -> Result<(), Problem> {
    let confirmed: Vec<_> = factors.iter().filter(|it| it.confirmed_at.is_some()).collect();
    if confirmed.iter().any(|factor| factor.name == name) {
        return Err(Problem::invalid("name", "is the name of another factor of yours"));
    }
    if confirmed.len() < MAX_FACTORS {
        return Ok(());
    }
    let text = format!(
        "Your account already has {MAX_FACTORS} second factors. Nothing was changed. Remove one first."
    );
    Err(Problem::new(Code::InvalidBody, text).with_field("name"))
}

fn refused(why: &str) -> Problem {
    Problem::new(Code::InvalidBody, format!("{why} Nothing was changed. Add the passkey again."))
}
