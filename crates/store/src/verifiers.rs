//! The data that the authority needs to verify the secrets of a registration.

use crate::{
    SecretWindows, StoreError, Tx, UpstreamCredential,
    catalogue::statements,
    clients,
    db::Row,
    secrets::{origin, rule},
};
use crossfade_core::{
    OauthClientId, RegistrationId,
    environment::Slug,
    networks::Networks,
    registration::{AuthMethods, Scopes, TokenTtl},
    rotation,
    secret::SecretOrigin,
    upstream::IssuerMode,
};
use std::collections::HashMap;

/// Data that the authority needs to verify the secrets of one registration.
#[derive(Clone, Debug)]
pub struct VerifierRow {
    /// The registration.
    pub registration_id: RegistrationId,
    /// Environment it belongs to.
    pub environment: Slug,
    /// Who issues the tokens of the environment.
    pub issuer_mode: IssuerMode,
    /// OAuth `client_id` that callers present.
    pub oauth_client_id: OauthClientId,
    /// Whether it refuses everything.
    pub disabled: bool,
    /// Whether its client has been deleted.
    pub deleted: bool,
    /// Number of times it was disabled. Access tokens of an earlier generation have ended.
    pub token_generation: i64,
    /// Allowed authentication methods.
    pub methods: AuthMethods,
    /// Scopes it can request.
    pub scopes: Scopes,
    /// Audience of its tokens, if it is not the issuer.
    pub audience: Option<String>,
    /// Access token lifetime.
    pub ttl: TokenTtl,
    /// Whether it can introspect every token of its environment.
    pub may_introspect: bool,
    /// Networks from which it may be used; `None` allows every address.
    pub allowed_networks: Option<Networks>,
    /// Whether it was created to learn its secret.
    pub adopts: bool,
    /// Its secrets, newest first.
    pub secrets: Vec<VerifierSecret>,
    /// Windows in which drills refuse the retiring ones.
    pub windows: Vec<SecretWindows>,
    /// Its credential for the issuer that the environment is in front of.
    pub upstream_credential: Option<UpstreamCredential>,
}

/// A secret, as the authority verifies it.
#[derive(Clone, Debug)]
pub struct VerifierSecret {
    /// Input of the rules.
    pub rule: rotation::Secret,
    /// Its digest.
    pub digest: Vec<u8>,
    /// ID of the digest's key.
    pub digest_key: String,
    /// Whether the digest of the value alone is stored.
    pub has_value_digest: bool,
    /// Where it came from.
    pub origin: SecretOrigin,
}

/// A registration read for the authority. Unreadable parts do not prevent reading the rest.
#[derive(Debug)]
pub struct ReadVerifier {
    /// ID of the registration, as it is stored.
    pub id: String,
    /// Environment and `client_id` of a registration in front of another issuer, as they are stored, also if the registration
    /// cannot be read itself.
    pub given: Option<(Slug, String)>,
    /// The registration without its unreadable secrets, or the error if it cannot be read itself.
    pub row: Result<VerifierRow, StoreError>,
    /// Why secrets of the registration cannot be read.
    pub unreadable_secrets: Vec<StoreError>,
}

statements! {
    LIST = "SELECT r.id, r.environment, r.oauth_client_id, r.disabled_at, c.deleted_at, r.auth_basic, r.auth_post, r.scopes, r.audience,
                     r.access_token_ttl_seconds, r.may_introspect, r.allowed_networks, r.token_generation, e.issuer_mode, a.begun_at
                 FROM registrations r JOIN clients c ON c.id = r.client_id JOIN environments e ON e.slug = r.environment
                 LEFT JOIN adoptions a ON a.registration_id = r.id
                 WHERE (CAST($1 AS TEXT) IS NULL OR r.id > $1) AND (CAST($2 AS TEXT) IS NULL OR r.id = $2) ORDER BY r.id LIMIT $3";
    SECRETS = "SELECT id, registration_id, created_at, expires_at, revoked_at, digest, digest_key, value_digest_key, origin FROM secrets
                        WHERE registration_id >= $1 AND registration_id <= $2 ORDER BY registration_id, number DESC";
}

impl Tx {
    /// Reads a page of the data that the authority needs, by registration ID. Fails only if the database fails.
    pub async fn verifiers(
        &mut self,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Vec<ReadVerifier>, StoreError> {
        self.verifier_rows(after, None, limit).await
    }

    /// Returns the data that the authority needs of one registration.
    pub async fn verifier(
        &mut self,
        registration: &RegistrationId,
    ) -> Result<Option<ReadVerifier>, StoreError> {
        Ok(self.verifier_rows(None, Some(registration), 1).await?.pop())
    }

    async fn verifier_rows(
        &mut self,
        after: Option<&str>,
        only: Option<&RegistrationId>,
        limit: i64,
    ) -> Result<Vec<ReadVerifier>, StoreError> {
        let args = vec![after.into(), only.map(RegistrationId::as_str).into(), limit.into()];
        let rows = self.rows(LIST, args).await?;
        let read = |row: &Row| ReadVerifier {
            id: row.text("id").unwrap_or_default(),
            given: given(row),
            row: verifier(row),
            unreadable_secrets: Vec::new(),
        };
        let mut read: Vec<ReadVerifier> = rows.iter().map(read).collect();
        let (Some(first), Some(last)) = (read.first(), read.last()) else { return Ok(read) };
        let (first, last) = (first.id.clone(), last.id.clone());
        let places: HashMap<String, usize> =
            read.iter().enumerate().map(|(at, read)| (read.id.clone(), at)).collect();
        // A secret or a drill of no registration decides nothing.
        for row in self.rows(SECRETS, vec![first.as_str().into(), last.as_str().into()]).await? {
            let place = row.text("registration_id").ok().and_then(|id| places.get(&id).copied());
            let Some(own) = place.and_then(|at| read.get_mut(at)) else { continue };
            match (verifier_secret(&row), &mut own.row) {
                (Ok(secret), Ok(verifier)) => verifier.secrets.push(secret),
                (Ok(_), Err(_)) => {}
                (Err(error), _) => own.unreadable_secrets.push(error),
            }
        }
        for (registration, windows) in self.drill_windows(&first, &last).await? {
            let place = places.get(&registration).copied();
            let Some(own) = place.and_then(|at| read.get_mut(at)) else { continue };
            match (windows, &mut own.row) {
                (Ok(windows), Ok(verifier)) => verifier.windows.push(windows),
                (Ok(_), Err(_)) => {}
                // Without its windows a secret would be accepted in them.
                (Err(error), _) => own.row = Err(error),
            }
        }
        let is_front =
            |it: &ReadVerifier| matches!(&it.row, Ok(row) if row.issuer_mode == IssuerMode::Upstream);
        if !read.iter().any(is_front) {
            return Ok(read);
        }
        for credential in self.upstream_credentials(&first, &last).await? {
            match credential {
                Ok(credential) => {
                    let place = places.get(credential.registration_id.as_str()).copied();
                    let own = place.and_then(|at| read.get_mut(at)).and_then(|own| own.row.as_mut().ok());
                    if let Some(own) = own {
                        own.upstream_credential = Some(credential);
                    }
                }
                // Its callers are refused by the issuer or not at all; its own secrets can still be verified.
                Err(error) => {
                    let StoreError::Corrupt { row, .. } = &error else { return Err(error) };
                    let place = places.get(row.split(' ').next().unwrap_or_default()).copied();
                    if let Some(own) = place.and_then(|at| read.get_mut(at)) {
                        own.unreadable_secrets.push(error);
                    }
                }
            }
        }
        Ok(read)
    }
}

/// Returns where a `client_id` was given, and which one. Unless the environment is known to issue its own tokens, it counts.
fn given(row: &Row) -> Option<(Slug, String)> {
    if row.text("issuer_mode").is_ok_and(|mode| mode == IssuerMode::Own.as_str()) {
        return None;
    }
    Some((Slug::from_stored(row.text("environment").ok()?), row.text("oauth_client_id").ok()?))
}

fn verifier_secret(row: &Row) -> Result<VerifierSecret, StoreError> {
    Ok(VerifierSecret {
        rule: rule(row)?,
        digest: row.blob("digest")?,
        digest_key: row.text("digest_key")?,
        has_value_digest: row.opt_text("value_digest_key")?.is_some(),
        origin: origin(row)?,
    })
}

fn verifier(row: &Row) -> Result<VerifierRow, StoreError> {
    let issuer_mode = row.parsed("issuer_mode", IssuerMode::parse)?;
    // The tokens of Crossfade contain only generated ones, which are unique across environments.
    let client_id = |text: &str| match issuer_mode {
        IssuerMode::Own => OauthClientId::generated(text),
        IssuerMode::Upstream => OauthClientId::parse(text).ok(),
    };
    Ok(VerifierRow {
        issuer_mode,
        registration_id: row.parsed("id", |text| RegistrationId::parse(text).ok())?,
        environment: Slug::from_stored(row.text("environment")?),
        oauth_client_id: row.parsed("oauth_client_id", client_id)?,
        disabled: row.opt_time("disabled_at")?.is_some(),
        deleted: row.opt_time("deleted_at")?.is_some(),
        token_generation: row.int("token_generation")?,
        methods: clients::methods(row)?,
        scopes: Scopes::from_stored(row.text("scopes")?),
        audience: row.opt_text("audience")?,
        ttl: clients::ttl(row)?,
        may_introspect: row.flag("may_introspect")?,
        allowed_networks: row.opt_parsed("allowed_networks", Networks::from_stored)?,
        adopts: row.opt_int("begun_at")?.is_some(),
        secrets: Vec::new(),
        windows: Vec::new(),
        upstream_credential: None,
    })
}
