//! Ends for the journal: noted in the transaction of the change, copied to the journal, and applied again to a database
//! that lacks them.

use crate::{StoreError, Tx, catalogue::statements, db::Row, sign_in_policy::SignInPolicyRow};
use crossfade_core::{
    ClientId, FactorId, GrantId, ProviderId, ProvisioningTokenId, RegistrationId, RotationId, ScimGroupId,
    ScimUserId, SecretId, Timestamp, TokenId, UserId,
    ended::{
        End, EndHash, EnvironmentRules, Hex, LatestRotation, RegistrationSettings, RegistrationState,
        ValidSecret,
    },
    environment::Slug,
    rotation::EndedAs,
    second_factor::FactorPolicy,
};

/// Subject of an end, noted while a change runs. Its state is read when the change is complete. In the order in which the
/// ends of one change are applied: what an account has before the account.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Noted {
    // First, so that digests made with it are usable when they come.
    DataKey(String),
    Environment(String),
    Registration(RegistrationId),
    TokensOfSecret(SecretId),
    AccessToken(String),
    SignInPolicy,
    Provider(ProviderId),
    Identity(ProviderId, UserId),
    ProvisioningToken(ProvisioningTokenId),
    ScimMember(ScimGroupId, ScimUserId),
    Grant(GrantId),
    ApiToken(TokenId),
    FactorAdded(FactorId, UserId),
    FactorRemoved(FactorId),
    RecoveryCodes(UserId),
    RecoveryCode(Vec<u8>),
    Password(UserId),
    Client(ClientId),
    Account(UserId),
    SigningKey(String),
}

/// An end as it is stored until it is in the journal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotedEnd {
    /// Its number.
    pub seq: i64,
    /// The end.
    pub end: End,
    /// Running hash up to this end; `None` if an earlier version noted it.
    pub hash: Option<EndHash>,
}

/// What applying an end has found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Applied {
    /// Its subject.
    Subject,
    /// No subject.
    Nothing,
    /// Another secret in the place of one that is valid since. All secrets that the end does not name have ended.
    Conflict,
}

/// How far an end moves the generation of tokens whose own line may follow: further than changes can have moved it.
const GENERATIONS: i64 = 1_000_000;

statements! {
    INSERT = "INSERT INTO ends (seq, entry, hash) VALUES {rows:3}";
    AFTER = "SELECT seq, entry, hash FROM ends WHERE seq > $1 ORDER BY seq LIMIT $2";
    NEXT = "SELECT seq, entry, hash FROM ends WHERE seq = $1";
    HASH = "SELECT seq, hash FROM ends WHERE seq = $1";
    SEALED = "SELECT seq, entry FROM ends WHERE entry LIKE '%\"data_key\"%\"sealed\"%' ORDER BY seq";
    ANY_SEALED = "SELECT seq FROM ends WHERE entry LIKE '%\"data_key\"%\"sealed\"%' LIMIT 1";
    SET_ENTRY = "UPDATE ends SET entry = $2 WHERE seq = $1";
    TRIM = "DELETE FROM ends WHERE seq <= $1";
    REGISTRATION = "SELECT id, disabled_at, token_generation, auth_basic, auth_post, scopes, audience, access_token_ttl_seconds,
                        may_introspect, allowed_networks, earlier_tokens_end_at, self_rotation FROM registrations WHERE id = $1";
    REGISTRATION_OF = "SELECT registration_id FROM secrets WHERE id = $1";
    SIGNING_KEY = "SELECT environment, removed_at FROM signing_keys WHERE kid = $1";
    VALID = "SELECT id, number, created_at, expires_at, digest, digest_key FROM secrets
             WHERE registration_id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2) ORDER BY number";
    LATEST = "SELECT id, number, actor_kind, actor_id, actor_name, rotated_at, transition_hours, reason, compromised,
                 outgoing_secret_id, incoming_secret_id
              FROM rotations WHERE registration_id = $1 ORDER BY number DESC LIMIT 1";
    END_TOKENS = "UPDATE secrets SET tokens_revoked_at = $2 WHERE id = $1";
    END_ALL_TOKENS = "UPDATE registrations SET token_generation = token_generation + $2, version = version + 1 WHERE id = $1";
    REMOVE_KEY = "UPDATE signing_keys SET removed_at = $2 WHERE kid = $1 AND (removed_at IS NULL OR removed_at > $2)";
    SET_SETTINGS = "UPDATE registrations SET auth_basic = $2, auth_post = $3, scopes = $4, audience = $5, access_token_ttl_seconds = $6,
                        may_introspect = $7, allowed_networks = $8, earlier_tokens_end_at = $9, self_rotation = $10 WHERE id = $1";
    REVOKE_TOKEN = "INSERT INTO revoked_tokens (jti, expires_at, revoked_at) VALUES ($1, $2, $3) ON CONFLICT (jti) DO NOTHING";
    REVOKED_TOKEN = "SELECT jti, expires_at, revoked_at FROM revoked_tokens WHERE jti = $1";
    SET_REGISTRATION = "UPDATE registrations SET disabled_at = $2, version = version + 1,
                            token_generation = CASE WHEN token_generation < $3 THEN $3 ELSE token_generation END
                        WHERE id = $1";
    END_OTHERS = "UPDATE secrets SET revoked_at = $2, expires_at = COALESCE(expires_at, $2)
                  WHERE registration_id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)
                    AND id <> $3 AND id <> $4";
    SET_VALID = "UPDATE secrets SET expires_at = $2, revoked_at = NULL WHERE id = $1";
    DATA_KEY = "SELECT id, purpose, sealed, created_at FROM data_keys WHERE id = $1";
    INSERT_DATA_KEY = "INSERT INTO data_keys (id, purpose, sealed, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING";
    SET_RULES = "UPDATE environments SET show_once = $2, wipe_after_days = $3, max_age_days = $4, guard_extension_hours = $5,
                     signing_key_rotation_days = $6, version = version + 1 WHERE slug = $1";
    INSERT_VALID = "INSERT INTO secrets (id, registration_id, number, created_at, expires_at, digest, digest_key)
                    VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";
    INSERT_ROTATION = "INSERT INTO rotations (id, registration_id, number, actor_kind, actor_id, actor_name, rotated_at, transition_hours,
                           reason, compromised, outgoing_secret_id, incoming_secret_id)
                       SELECT $1, $2, CAST($3 AS BIGINT), $4, $5, $6, CAST($7 AS BIGINT), CAST($8 AS BIGINT), $9, CAST($10 AS BIGINT), o.id, i.id
                       FROM secrets o JOIN secrets i ON i.id = $12
                       WHERE o.id = $11 AND NOT EXISTS (SELECT 1 FROM rotations r WHERE r.id = $1)
                       ON CONFLICT DO NOTHING";
    DECIDE_ROTATIONS = "UPDATE rotations SET ended_as = $3, ended_at = $2 WHERE registration_id = $1 AND ended_as IS NULL
                          AND outgoing_secret_id IN (SELECT id FROM secrets WHERE registration_id = $1 AND revoked_at IS NOT NULL)";
}

impl Tx {
    /// Writes what ended in this transaction for the journal. Returns the number of the last end.
    pub async fn note_ends(&mut self) -> Result<i64, StoreError> {
        let noted = std::mem::take(&mut self.noted);
        if !noted.is_empty() {
            let mut rows = Vec::new();
            for noted in noted {
                if let Some(end) = self.end_of(&noted).await? {
                    let entry = serde_json::to_string(&end).map_err(|_| StoreError::Unstorable)?;
                    let (seq, hash) = self.next_end(&entry);
                    rows.push(vec![seq.into(), entry.into(), hash.as_bytes().into()]);
                }
            }
            self.many(INSERT, &rows).await?;
        }
        Ok(self.last_end())
    }

    /// Returns the ends after `after`, oldest first. Each data key has its present seal, or was deleted.
    pub async fn ends(&mut self, after: i64, limit: i64) -> Result<Vec<NotedEnd>, StoreError> {
        let rows = self.rows(AFTER, vec![after.into(), limit.into()]).await?;
        let end = |row: &Row| {
            Ok(NotedEnd {
                seq: row.int("seq")?,
                end: row.parsed("entry", |text| serde_json::from_str(text).ok())?,
                hash: hash(row)?,
            })
        };
        let mut ends = rows.iter().map(end).collect::<Result<Vec<_>, StoreError>>()?;
        for noted in &mut ends {
            if let End::DataKey { id, .. } = &noted.end {
                let id = id.clone();
                noted.end = self.data_key_end(&id).await?;
            }
        }
        Ok(ends)
    }

    /// Whether ends contain sealed data keys.
    pub async fn has_seals_of_ends(&mut self) -> Result<bool, StoreError> {
        Ok(self.optional(ANY_SEALED, vec![]).await?.is_some())
    }

    /// Removes sealed data keys from the ends, where earlier versions copied them: a former master key would open them.
    /// Returns the number of changed ends.
    pub async fn remove_seals_of_ends(&mut self) -> Result<usize, StoreError> {
        let rows = self.rows(SEALED, vec![]).await?;
        for row in &rows {
            let end: End = row.parsed("entry", |text| serde_json::from_str(text).ok())?;
            let entry = serde_json::to_string(&end.without_seal()).map_err(|_| StoreError::Unstorable)?;
            self.execute(SET_ENTRY, vec![row.int("seq")?.into(), entry.into()]).await?;
        }
        Ok(rows.len())
    }

    /// Returns the running hash up to a stored end; `None` if the database does not contain that end any more.
    pub async fn end_hash(&mut self, seq: i64) -> Result<Option<Option<EndHash>>, StoreError> {
        self.optional(HASH, vec![seq.into()]).await?.as_ref().map(hash).transpose()
    }

    /// Whether the end after `seq` was noted as one that continues this running hash. The end itself is not stored if it was
    /// applied from a journal, and has another hash if a journal was begun after it.
    pub async fn ends_continue(&mut self, seq: i64, hash: EndHash) -> Result<bool, StoreError> {
        let next = seq + 1;
        let Some(row) = self.optional(NEXT, vec![next.into()]).await? else { return Ok(false) };
        let entry = row.text("entry")?;
        Ok(self::hash(&row)? == Some(EndHash::after(Some(hash), next, &entry)))
    }

    /// Notes the data keys with these IDs, also if this transaction notes nothing else.
    pub fn note_data_keys(&mut self, ids: impl IntoIterator<Item = String>) {
        self.noted.extend(ids.into_iter().map(Noted::DataKey));
    }

    /// Forgets ends that are in the journal.
    pub async fn trim_ends(&mut self, up_to: i64) -> Result<u64, StoreError> {
        self.execute(TRIM, vec![up_to.into()]).await
    }

    async fn end_of(&mut self, noted: &Noted) -> Result<Option<End>, StoreError> {
        let at = self.highest_time();
        Ok(Some(match noted {
            Noted::Registration(id) => match self.registration_state(id, at).await? {
                Some(state) => End::Registration(Box::new(state)),
                None => return Ok(None),
            },
            Noted::TokensOfSecret(secret) => {
                let row = self.optional(REGISTRATION_OF, vec![secret.as_str().into()]).await?;
                let registration =
                    |row: Row| row.parsed("registration_id", |id| RegistrationId::parse(id).ok());
                End::TokensOfSecret {
                    secret: secret.clone(),
                    registration: row.map(registration).transpose()?,
                    at,
                }
            }
            Noted::AccessToken(jti) => match self.optional(REVOKED_TOKEN, vec![jti.as_str().into()]).await? {
                Some(row) => End::AccessToken {
                    jti: jti.clone(),
                    expires_at: row.time("expires_at")?,
                    at: row.time("revoked_at")?,
                },
                None => return Ok(None),
            },
            Noted::Client(id) => End::Client { id: id.clone(), at },
            Noted::Account(id) => End::Account { id: id.clone(), at },
            Noted::Password(id) => End::Password { id: id.clone() },
            Noted::FactorAdded(id, user) => End::FactorAdded { id: id.clone(), user_id: user.clone(), at },
            Noted::FactorRemoved(id) => End::FactorRemoved { id: id.clone(), at },
            Noted::RecoveryCodes(user) => End::RecoveryCodes { user_id: user.clone(), at },
            Noted::RecoveryCode(digest) => End::RecoveryCode { digest: Hex(digest.clone()), at },
            Noted::SignInPolicy => {
                let SignInPolicyRow { factor, passwords, break_glass, passwords_on_since, .. } =
                    self.sign_in_policy().await?;
                let FactorPolicy { asked_for, told_at, secret_roles_told_at } = factor;
                End::SignInPolicy {
                    asked_for,
                    told_at,
                    secret_roles_told_at,
                    passwords,
                    break_glass,
                    passwords_on_since,
                    at,
                }
            }
            Noted::Provider(id) => End::Provider { id: id.clone(), at },
            Noted::Identity(provider, user) => {
                End::Identity { provider_id: provider.clone(), user_id: user.clone(), at }
            }
            Noted::ProvisioningToken(id) => End::ProvisioningToken { id: id.clone(), at },
            Noted::ScimMember(group, member) => {
                End::ScimMember { group_id: group.clone(), member_id: member.clone(), at }
            }
            Noted::Grant(id) => End::Grant { id: id.clone() },
            Noted::ApiToken(id) => End::ApiToken { id: id.clone(), at },
            Noted::SigningKey(kid) => {
                let row = self.optional(SIGNING_KEY, vec![kid.as_str().into()]).await?;
                let Some(row) = row else { return Ok(None) };
                let Some(removed_at) = row.opt_time("removed_at")? else { return Ok(None) };
                let environment = Slug::from_stored(row.text("environment")?);
                End::SigningKey { environment, kid: kid.clone(), removed_at, at }
            }
            Noted::DataKey(id) => self.data_key_end(id).await?.without_seal(),
            Noted::Environment(slug) => {
                let slug = Slug::from_stored(slug.clone());
                let Some(environment) = self.environment(&slug).await? else { return Ok(None) };
                let rules = EnvironmentRules {
                    show_once: environment.show_once,
                    wipe_after_days: environment.wipe_after_days,
                    max_age_days: environment.max_age_days,
                    guard_extension_hours: environment.guard_extension_hours,
                    signing_key_rotation_days: environment.signing_key_rotation_days,
                };
                End::Environment { slug, at, rules }
            }
        }))
    }

    async fn data_key_end(&mut self, id: &str) -> Result<End, StoreError> {
        let row = self.optional(DATA_KEY, vec![id.into()]).await?;
        let Some(row) = row else { return Ok(End::DataKeyDeleted { id: id.to_owned() }) };
        Ok(End::DataKey {
            id: id.to_owned(),
            purpose: row.text("purpose")?,
            sealed: Some(Hex(row.blob("sealed")?)),
            created_at: row.time("created_at")?,
        })
    }

    async fn registration_state(
        &mut self,
        id: &RegistrationId,
        at: Timestamp,
    ) -> Result<Option<RegistrationState>, StoreError> {
        let Some(row) = self.optional(REGISTRATION, vec![id.as_str().into()]).await? else { return Ok(None) };
        let secrets = self.rows(VALID, vec![id.as_str().into(), at.into()]).await?;
        let rotation = self.optional(LATEST, vec![id.as_str().into()]).await?;
        Ok(Some(RegistrationState {
            id: id.clone(),
            at,
            disabled_at: row.opt_time("disabled_at")?,
            token_generation: row.int("token_generation")?,
            valid: secrets.iter().map(valid).collect::<Result<_, _>>()?,
            rotation: rotation.as_ref().map(latest).transpose()?,
            settings: Some(RegistrationSettings {
                auth_basic: row.flag("auth_basic")?,
                auth_post: row.flag("auth_post")?,
                scopes: row.text("scopes")?,
                audience: row.opt_text("audience")?,
                access_token_ttl_seconds: row.int("access_token_ttl_seconds")?,
                may_introspect: row.flag("may_introspect")?,
                allowed_networks: row.opt_text("allowed_networks")?,
                earlier_tokens_end_at: row.opt_time("earlier_tokens_end_at")?,
                self_rotation: row.flag("self_rotation")?,
            }),
        }))
    }

    /// Applies an end to a database that may lack it.
    pub async fn apply_end(&mut self, end: &End) -> Result<Applied, StoreError> {
        let changed = match end {
            End::Registration(state) => return self.apply_registration(state).await,
            End::TokensOfSecret { secret, registration, at } => {
                let ended = self.execute(END_TOKENS, vec![secret.as_str().into(), (*at).into()]).await?;
                match registration {
                    // Created after the copy: its tokens would pass as those of a secret that was forgotten.
                    Some(id) if ended == 0 => {
                        self.execute(END_ALL_TOKENS, vec![id.as_str().into(), GENERATIONS.into()]).await?
                    }
                    _ => ended,
                }
            }
            End::SigningKey { kid, removed_at, .. } => {
                self.execute(REMOVE_KEY, vec![kid.as_str().into(), (*removed_at).into()]).await?;
                u64::from(self.optional(SIGNING_KEY, vec![kid.as_str().into()]).await?.is_some())
            }
            End::DataKey { sealed: None, .. } => 0,
            End::DataKey { id, purpose, sealed: Some(sealed), created_at } => {
                let sealed = sealed.0.as_slice().into();
                let args = vec![id.as_str().into(), purpose.as_str().into(), sealed, (*created_at).into()];
                self.execute(INSERT_DATA_KEY, args).await?;
                1
            }
            // The copy may still need the key: an operator deletes it again.
            End::DataKeyDeleted { .. } => 1,
            End::Environment { slug, rules, .. } => self.apply_rules(slug, rules).await?,
            End::AccessToken { jti, expires_at, at } => {
                let args = vec![jti.as_str().into(), (*expires_at).into(), (*at).into()];
                self.execute(REVOKE_TOKEN, args).await?;
                1
            }
            End::Client { id, at } => match self.client(id).await? {
                Some(_) => {
                    self.delete_client(id, *at).await?;
                    1
                }
                None => 0,
            },
            End::Account { id, at } => match self.user(id).await? {
                Some(_) => {
                    self.delete_user(id, *at).await?;
                    1
                }
                None => 0,
            },
            End::Password { id } => u64::from(self.clear_password(id).await?),
            // With the password alone nobody gets in. The person gets a link, and adds a factor again.
            End::FactorAdded { id, user_id, .. } => match self.has_factor(id).await? {
                true => 1,
                false => u64::from(self.clear_password(user_id).await?),
            },
            End::FactorRemoved { id, .. } => u64::from(self.remove_factor(id).await?),
            End::RecoveryCodes { user_id, at } => self.end_recovery_codes(user_id, *at).await?,
            End::RecoveryCode { digest, .. } => self.end_recovery_code(&digest.0).await?,
            End::SignInPolicy {
                asked_for,
                told_at,
                secret_roles_told_at,
                passwords,
                break_glass,
                passwords_on_since,
                ..
            } => {
                let factor = FactorPolicy {
                    asked_for: *asked_for,
                    told_at: *told_at,
                    secret_roles_told_at: *secret_roles_told_at,
                };
                let policy = SignInPolicyRow {
                    factor,
                    passwords: *passwords,
                    break_glass: break_glass.clone(),
                    passwords_on_since: *passwords_on_since,
                    ..SignInPolicyRow::default()
                };
                self.put_sign_in_policy(&policy).await?
            }
            // An Owner looks at it, and enables it again.
            End::Provider { id, at } => self.disable_provider(id, *at).await?,
            End::Identity { provider_id, user_id, at } => {
                self.delete_identity_until(user_id, provider_id, *at).await?
                    + self.disown_scim_user_until(user_id, provider_id, *at).await?
            }
            End::ProvisioningToken { id, at } => u64::from(self.delete_provisioning_token(id, *at).await?),
            End::ScimMember { group_id, member_id, at } => {
                self.remove_scim_member_until(group_id, member_id, *at).await?
            }
            End::Grant { id } => match self.grant(id).await? {
                Some(_) => {
                    self.delete_grant(id).await?;
                    1
                }
                None => 0,
            },
            End::ApiToken { id, at } => match self.token(id).await? {
                Some(_) => {
                    self.delete_token(id, *at).await?;
                    1
                }
                None => 0,
            },
        };
        Ok(if changed > 0 { Applied::Subject } else { Applied::Nothing })
    }

    async fn apply_rules(&mut self, slug: &Slug, rules: &EnvironmentRules) -> Result<u64, StoreError> {
        let args = vec![
            slug.as_str().into(),
            rules.show_once.into(),
            rules.wipe_after_days.into(),
            rules.max_age_days.into(),
            rules.guard_extension_hours.into(),
            rules.signing_key_rotation_days.into(),
        ];
        let changed = self.execute(SET_RULES, args).await?;
        if rules.show_once {
            self.wipe_environment(slug).await?;
        }
        Ok(changed)
    }

    async fn apply_registration(&mut self, state: &RegistrationState) -> Result<Applied, StoreError> {
        let id = || state.id.as_str().into();
        let args = vec![id(), state.disabled_at.into(), state.token_generation.into()];
        if self.execute(SET_REGISTRATION, args).await? == 0 {
            return Ok(Applied::Nothing);
        }
        let mut applied = Applied::Subject;
        if let Some(settings) = &state.settings {
            let args = vec![
                id(),
                settings.auth_basic.into(),
                settings.auth_post.into(),
                settings.scopes.as_str().into(),
                settings.audience.clone().into(),
                settings.access_token_ttl_seconds.into(),
                settings.may_introspect.into(),
                settings.allowed_networks.clone().into(),
                settings.earlier_tokens_end_at.into(),
                settings.self_rotation.into(),
            ];
            self.execute(SET_SETTINGS, args).await?;
        }
        let named = |at: usize| state.valid.get(at).map_or("", |secret| secret.id.as_str()).into();
        self.execute(END_OTHERS, vec![id(), state.at.into(), named(0), named(1)]).await?;
        // Oldest first: the schema allows only one current secret at any time.
        for secret in &state.valid {
            let args = vec![secret.id.as_str().into(), secret.expires_at.into()];
            if self.execute(SET_VALID, args).await? == 0 {
                let args = vec![
                    secret.id.as_str().into(),
                    id(),
                    secret.number.into(),
                    secret.created_at.into(),
                    secret.expires_at.into(),
                    secret.digest.0.as_slice().into(),
                    secret.digest_key.as_str().into(),
                ];
                if self.execute(INSERT_VALID, args).await? == 0 {
                    applied = Applied::Conflict;
                }
            }
        }
        if let Some(rotation) = &state.rotation {
            let args = vec![
                rotation.id.as_str().into(),
                id(),
                rotation.number.into(),
                rotation.actor_kind.as_str().into(),
                rotation.actor_id.as_str().into(),
                rotation.actor_name.as_str().into(),
                rotation.rotated_at.into(),
                rotation.transition_hours.into(),
                rotation.reason.as_str().into(),
                rotation.compromised.into(),
                rotation.outgoing.as_str().into(),
                rotation.incoming.as_str().into(),
            ];
            self.execute(INSERT_ROTATION, args).await?;
        }
        let args = vec![id(), state.at.into(), EndedAs::Revoked.as_str().into()];
        self.execute(DECIDE_ROTATIONS, args).await?;
        Ok(applied)
    }
}

fn hash(row: &Row) -> Result<Option<EndHash>, StoreError> {
    Ok(row.opt_blob("hash")?.as_deref().and_then(EndHash::from_bytes))
}

fn valid(row: &Row) -> Result<ValidSecret, StoreError> {
    Ok(ValidSecret {
        id: row.parsed("id", |text| SecretId::parse(text).ok())?,
        number: row.int("number")?,
        created_at: row.time("created_at")?,
        expires_at: row.opt_time("expires_at")?,
        digest: Hex(row.blob("digest")?),
        digest_key: row.text("digest_key")?,
    })
}

fn latest(row: &Row) -> Result<LatestRotation, StoreError> {
    Ok(LatestRotation {
        id: row.parsed("id", |text| RotationId::parse(text).ok())?,
        number: row.int("number")?,
        actor_kind: row.text("actor_kind")?,
        actor_id: row.text("actor_id")?,
        actor_name: row.text("actor_name")?,
        rotated_at: row.time("rotated_at")?,
        transition_hours: row.int("transition_hours")?,
        reason: row.text("reason")?,
        compromised: row.flag("compromised")?,
        outgoing: row.parsed("outgoing_secret_id", |text| SecretId::parse(text).ok())?,
        incoming: row.parsed("incoming_secret_id", |text| SecretId::parse(text).ok())?,
    })
}
