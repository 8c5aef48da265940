//! Signing in the command line. A person approves it in the Console and gets a one-time code; the program that asked
//! exchanges the code for an API token, and proves with its code verifier that it asked (RFC 7636).

use crate::{
    app::App,
    error::Error,
    frame::principal::by_session_id,
    people::{
        sessions::{Session, Visitor, author_in},
        tokens::CheckedToken,
    },
};
use aws_lc_rs::{
    constant_time,
    digest::{SHA256, digest},
};
use crossfade_core::{
    Code, Problem,
    login::{CodeChallenge, LoggedIn, LoginCode, check_days},
    secret::{SecretKind, SecretValue},
};
use crossfade_store::{LoginRow, Tx};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a code can be exchanged.
const CODE_LIVES: Duration = Duration::from_secs(5 * 60);

/// A command line that asks for an API token, as the person approves it.
#[derive(Clone, Debug)]
pub struct NewLogin {
    /// Digest of the code verifier.
    pub challenge: CodeChallenge,
    /// Name of the token.
    pub name: String,
    /// Days until it expires.
    pub expires_days: u32,
    /// Permissions it is limited to; empty: all permissions of the person.
    pub scope: Vec<String>,
}

/// The token of an approved command line, as it is stored.
#[derive(Serialize, Deserialize)]
struct ApprovedToken {
    name: String,
    expires_days: u32,
    scope: Vec<String>,
}

impl ApprovedToken {
    fn check(&self) -> Result<CheckedToken, Problem> {
        CheckedToken::new(&self.name, Some(check_days(self.expires_days)?), &self.scope, None)
    }
}

impl App {
    /// Approves a command line. The code replaces any earlier one of the account, and ends with the session.
    pub async fn approve_login(&self, session: &Session, new: NewLogin) -> Result<LoginCode, Error> {
        self.node.unless_quarantined()?;
        let token = ApprovedToken { name: new.name, expires_days: new.expires_days, scope: new.scope };
        token.check()?;
        self.admit_new_token(session)?;
        let code = LoginCode::generate(self.random.as_ref());
        let digest = self.digests.login(code.reveal());
        let token = serde_json::to_string(&token).map_err(Error::internal)?;
        self.change_own(&session.principal, async |act, principal| {
            principal.unless_factor_missing()?;
            let row = LoginRow {
                user_id: principal.user.clone(),
                session_id: session.id.clone(),
                challenge: new.challenge.clone(),
                token,
                expires_at: act.now.after(CODE_LIVES),
            };
            Ok(act.tx.insert_login(&row, &digest, act.now).await?)
        })
        .await?;
        Ok(code)
    }

    /// Exchanges a code for an API token and returns the token's value, only this once. A code that is presented with a
    /// wrong verifier ends, because someone else has it.
    pub async fn redeem_login(
        &self,
        code: &str,
        verifier: &str,
        visitor: &Visitor,
    ) -> Result<(LoggedIn, SecretValue), Error> {
        self.node.unless_quarantined()?;
        let code = LoginCode::parse(code).ok_or_else(unknown_code)?;
        let digest = self.digests.login(code.reveal());
        let now = self.clock.now();
        // Looked up first, so that strangers do not wait for the lock of changes.
        let look = async |tx: &mut Tx| Ok(tx.login(&digest, now).await?.ok_or_else(unknown_code)?);
        let seen = self.look_up_for(visitor.origin.ip, look).await?;
        let is_own = is_verifier_of(verifier, &seen.challenge);
        let value = SecretValue::generate(SecretKind::ApiToken, self.random.as_ref());
        let created = self.node.transact(async |tx, now| {
            let row = tx.login(&digest, now).await?.ok_or_else(unknown_code)?;
            tx.end_login(&digest).await?;
            if !is_own {
                return Ok(Err(tx.user(&row.user_id).await?));
            }
            // What has changed since the approval counts: the session may have expired, a second factor be asked for.
            let (principal, user) = by_session_id(tx, &row.session_id, &visitor.origin, now)
                .await
                .map_err(|error| if error.source.is_some() { error } else { unknown_code().into() })?;
            principal.unless_factor_missing()?;
            let token: ApprovedToken = serde_json::from_str(&row.token).map_err(Error::internal)?;
            let mut act = self.act(tx, now, author_in(&row.session_id, &user, visitor));
            let token = self.insert_own_token(&mut act, (&token.check()?, None), &user, &value).await?;
            Ok(Ok((token, user)))
        });
        let (token, user) = match created.await? {
            Ok(created) => created,
            Err(user) => {
                tracing::warn!(
                    "a code of the command line was presented with a wrong verifier, and has ended"
                );
                self.audit_refused_sign_in(user.as_ref(), "verifier", 1, visitor, None).await?;
                return Err(unknown_code().into());
            }
        };
        let logged_in = LoggedIn {
            id: token.id,
            name: token.name,
            expires_at: token.expires_at.unwrap_or(now),
            user_id: user.id,
            user_name: user.name,
            user_email: user.email.unwrap_or_default(),
        };
        Ok((logged_in, value))
    }
}

/// Returns the challenge of a code verifier: its SHA-256 digest in base64url (RFC 7636 §4.2).
pub fn code_challenge(verifier: &str) -> CodeChallenge {
    CodeChallenge::of_digest(digest(&SHA256, verifier.as_bytes()).as_ref())
}

/// Whether a verifier fits a challenge (RFC 7636 §4.6), compared in constant time.
fn is_verifier_of(verifier: &str, challenge: &CodeChallenge) -> bool {
    let own = code_challenge(verifier);
    constant_time::verify_slices_are_equal(own.as_str().as_bytes(), challenge.as_str().as_bytes()).is_ok()
}

/// Returns one refusal for every code that cannot be exchanged.
fn unknown_code() -> Problem {
    let text = "This code is unknown, used or expired. Nothing was changed. Run crossfade login again.";
    Problem::new(Code::NotFound, text).with_field("code")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verifier_of_rfc_7636_fits_its_challenge() {
        let challenge = CodeChallenge::parse("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM").unwrap();
        assert!(is_verifier_of("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", &challenge));
        assert!(!is_verifier_of("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXl", &challenge));
        assert!(!is_verifier_of("", &challenge));
    }
}
