//! What the journal records outside the database: each end, and the state of a registration whose secrets changed.

use crate::{
    ClientId, FactorId, GrantId, ProviderId, ProvisioningTokenId, RegistrationId, RotationId, ScimGroupId,
    ScimUserId, SecretId, Timestamp, TokenId, UserId, account::Passwords, environment::Slug,
    second_factor::AskedFor,
};
use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

/// An end that no copy of the database may undo, or a registration's secrets after a change.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The secrets of a registration, as they are since a change.
    Registration(Box<RegistrationState>),
    /// The tokens issued under a secret were ended.
    TokensOfSecret {
        /// The secret.
        secret: SecretId,
        /// Its registration, whose tokens all end where the secret does not exist.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        registration: Option<RegistrationId>,
        /// When.
        at: Timestamp,
    },
    /// An access token was revoked.
    AccessToken {
        /// Its `jti`.
        jti: String,
        /// When it would have expired.
        expires_at: Timestamp,
        /// When it was revoked.
        at: Timestamp,
    },
    /// A client was deleted.
    Client {
        /// The client.
        id: ClientId,
        /// When.
        at: Timestamp,
    },
    /// An account was deleted.
    Account {
        /// The account.
        id: UserId,
        /// When.
        at: Timestamp,
    },
    /// A password was replaced or removed. The journal contains neither.
    Password {
        /// The account.
        id: UserId,
    },
    /// An account got a second factor. A copy without it would let its password in alone.
    FactorAdded {
        /// The factor.
        id: FactorId,
        /// Account it belongs to.
        user_id: UserId,
        /// When.
        at: Timestamp,
    },
    /// A second factor was removed.
    FactorRemoved {
        /// The factor.
        id: FactorId,
        /// When.
        at: Timestamp,
    },
    /// The recovery codes of an account were replaced or removed.
    RecoveryCodes {
        /// The account.
        user_id: UserId,
        /// When. Codes that were created then are those that replaced the others.
        at: Timestamp,
    },
    /// A recovery code was used.
    RecoveryCode {
        /// Its keyed digest, as hexadecimal digits.
        digest: Hex,
        /// When.
        at: Timestamp,
    },
    /// The sign-in policy, as it is since a change.
    SignInPolicy {
        /// Whom it asks.
        asked_for: AskedFor,
        /// When people were told.
        told_at: Option<Timestamp>,
        /// Since when it asks people with a role that sees secrets.
        secret_roles_told_at: Option<Timestamp>,
        /// Who can sign in with a password.
        passwords: Passwords,
        /// Accounts that can when nobody else can.
        break_glass: Vec<UserId>,
        /// When passwords were switched on again.
        passwords_on_since: Option<Timestamp>,
        /// When the change was made.
        at: Timestamp,
    },
    /// A provider was changed, disabled or deleted. A copy that does not know the change disables the provider.
    Provider {
        /// The provider.
        id: ProviderId,
        /// When.
        at: Timestamp,
    },
    /// An account was unlinked from a provider.
    Identity {
        /// The provider.
        provider_id: ProviderId,
        /// The account.
        user_id: UserId,
        /// When.
        at: Timestamp,
    },
    /// A token with which a provider provisions people was ended.
    ProvisioningToken {
        /// The token.
        id: ProvisioningTokenId,
        /// When.
        at: Timestamp,
    },
    /// A provider removed a person from a group that it provisions.
    ScimMember {
        /// The group.
        group_id: ScimGroupId,
        /// The person.
        member_id: ScimUserId,
        /// When.
        at: Timestamp,
    },
    /// A role was removed.
    Grant {
        /// The grant.
        id: GrantId,
    },
    /// An API token was ended.
    ApiToken {
        /// The token.
        id: TokenId,
        /// When.
        at: Timestamp,
    },
    /// A signing key leaves the key set.
    SigningKey {
        /// Its environment.
        environment: Slug,
        /// Its `kid`.
        kid: String,
        /// When it leaves.
        removed_at: Timestamp,
        /// When that was decided.
        at: Timestamp,
    },
    /// A data key was created, or sealed again. The journal contains it sealed under the master key.
    DataKey {
        /// Its ID.
        id: String,
        /// Its purpose.
        purpose: String,
        /// The sealed key; `None` in the database, which contains its present seal elsewhere.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sealed: Option<Hex>,
        /// When it was created.
        created_at: Timestamp,
    },
    /// A data key was deleted.
    DataKeyDeleted {
        /// Its ID.
        id: String,
    },
    /// The rules of an environment, as they are since a change.
    Environment {
        /// The environment.
        slug: Slug,
        /// When the change was made.
        at: Timestamp,
        /// Its rules.
        rules: EnvironmentRules,
    },
}

/// The settings of an environment that limit its secrets, as they are stored.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EnvironmentRules {
    /// Whether secret values are never stored.
    pub show_once: bool,
    /// Days after a secret's end until its value is wiped.
    pub wipe_after_days: i64,
    /// Days after which a secret is overdue.
    pub max_age_days: Option<i64>,
    /// Hours by which the guard can extend a deadline at a time.
    pub guard_extension_hours: Option<i64>,
    /// Days after which a new signing key is created on a schedule.
    pub signing_key_rotation_days: Option<i64>,
}

/// Running hash over the ends of a history: equal only if all ends up to this one are equal. Written as hexadecimal
/// digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EndHash([u8; Self::LENGTH]);

impl EndHash {
    /// Number of bytes: enough to distinguish histories. It is no protection against a writer of the database.
    pub const LENGTH: usize = 16;

    /// Returns the hash after an end with its number and its stored text.
    pub fn after(previous: Option<Self>, seq: i64, entry: &str) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(previous.as_ref().map_or(&[][..], Self::as_bytes));
        context.update(&seq.to_be_bytes());
        context.update(entry.as_bytes());
        let mut bytes = [0; Self::LENGTH];
        bytes.iter_mut().zip(context.finish().as_ref()).for_each(|(byte, of)| *byte = *of);
        Self(bytes)
    }

    /// Reads stored bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Returns the bytes that are stored.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<String> for EndHash {
    type Error = InvalidHex;
    fn try_from(text: String) -> Result<Self, InvalidHex> {
        Self::from_bytes(&Hex::try_from(text)?.0).ok_or(InvalidHex)
    }
}

impl From<EndHash> for String {
    fn from(hash: EndHash) -> String {
        Hex(hash.0.to_vec()).into()
    }
}

/// The secrets of a registration that are valid since a change. All others have ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RegistrationState {
    /// The registration.
    pub id: RegistrationId,
    /// When the change was made.
    pub at: Timestamp,
    /// Since when it is disabled; `None` if it is enabled.
    pub disabled_at: Option<Timestamp>,
    /// Number of times it was disabled.
    pub token_generation: i64,
    /// The current and the retiring secret, oldest first.
    pub valid: Vec<ValidSecret>,
    /// The latest rotation.
    pub rotation: Option<LatestRotation>,
    /// Its settings; `None` in lines of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<RegistrationSettings>,
}

/// The settings of a registration, as they are stored.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RegistrationSettings {
    /// Whether it authenticates with `client_secret_basic`.
    pub auth_basic: bool,
    /// Whether it authenticates with `client_secret_post`.
    pub auth_post: bool,
    /// Scopes.
    pub scopes: String,
    /// Audience.
    pub audience: Option<String>,
    /// Lifetime of its tokens.
    pub access_token_ttl_seconds: i64,
    /// Whether it can introspect tokens.
    pub may_introspect: bool,
    /// Networks that it may be used from.
    pub allowed_networks: Option<String>,
    /// When tokens of an earlier lifetime have ended.
    pub earlier_tokens_end_at: Option<Timestamp>,
    /// Whether its client can rotate its own secret; `false` in lines of earlier versions.
    #[serde(default)]
    pub self_rotation: bool,
}

/// A valid secret, without its value.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ValidSecret {
    /// The secret.
    pub id: SecretId,
    /// Its number within the registration.
    pub number: i64,
    /// When it was created.
    pub created_at: Timestamp,
    /// Its deadline; `None` if it is current.
    pub expires_at: Option<Timestamp>,
    /// Its keyed digest, as hexadecimal digits.
    pub digest: Hex,
    /// ID of the key of the digest.
    pub digest_key: String,
}

/// A rotation, so that the history contains it again.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LatestRotation {
    /// The rotation.
    pub id: RotationId,
    /// Its number within the registration.
    pub number: i64,
    /// Kind of the actor.
    pub actor_kind: String,
    /// ID of the actor.
    pub actor_id: String,
    /// Name of the actor.
    pub actor_name: String,
    /// When it was made.
    pub rotated_at: Timestamp,
    /// Transition period in hours.
    pub transition_hours: i64,
    /// Reason.
    pub reason: String,
    /// Whether the outgoing secret had leaked.
    pub compromised: bool,
    /// The replaced secret.
    pub outgoing: SecretId,
    /// The replacing secret.
    pub incoming: SecretId,
}

impl End {
    /// Returns what a later end of the same subject replaces.
    pub fn subject(&self) -> String {
        match self {
            Self::Registration(state) => state.id.to_string(),
            Self::TokensOfSecret { secret, .. } => format!("tokens of {secret}"),
            Self::AccessToken { jti, .. } => format!("access token {jti}"),
            Self::Client { id, .. } => id.to_string(),
            Self::Account { id, .. } => id.to_string(),
            Self::Password { id } => format!("password of {id}"),
            Self::FactorAdded { id, .. } | Self::FactorRemoved { id, .. } => id.to_string(),
            Self::RecoveryCodes { user_id, .. } => format!("recovery codes of {user_id}"),
            Self::RecoveryCode { digest, .. } => format!("recovery code {}", String::from(digest.clone())),
            Self::SignInPolicy { .. } => "sign-in policy".to_owned(),
            Self::Provider { id, .. } => id.to_string(),
            Self::Identity { provider_id, user_id, .. } => format!("identity of {user_id} at {provider_id}"),
            Self::ProvisioningToken { id, .. } => id.to_string(),
            Self::ScimMember { group_id, member_id, .. } => format!("member {member_id} of {group_id}"),
            Self::Grant { id } => id.to_string(),
            Self::ApiToken { id, .. } => id.to_string(),
            Self::SigningKey { kid, .. } => format!("signing key {kid}"),
            Self::DataKey { id, .. } | Self::DataKeyDeleted { id } => format!("data key {id}"),
            Self::Environment { slug, .. } => format!("environment {slug}"),
        }
    }

    /// Returns the end without a sealed key, as the database stores it: a later seal replaces the present one only where
    /// the data keys are.
    pub fn without_seal(self) -> Self {
        match self {
            Self::DataKey { id, purpose, created_at, .. } => {
                Self::DataKey { id, purpose, sealed: None, created_at }
            }
            other => other,
        }
    }

    /// Returns when the change was made, if the journal contains it.
    pub fn at(&self) -> Option<Timestamp> {
        match self {
            Self::Registration(state) => Some(state.at),
            Self::TokensOfSecret { at, .. }
            | Self::AccessToken { at, .. }
            | Self::Client { at, .. }
            | Self::Account { at, .. }
            | Self::ApiToken { at, .. }
            | Self::FactorAdded { at, .. }
            | Self::FactorRemoved { at, .. }
            | Self::RecoveryCodes { at, .. }
            | Self::RecoveryCode { at, .. }
            | Self::SignInPolicy { at, .. }
            | Self::Provider { at, .. }
            | Self::Identity { at, .. }
            | Self::ProvisioningToken { at, .. }
            | Self::ScimMember { at, .. }
            | Self::SigningKey { at, .. }
            | Self::Environment { at, .. } => Some(*at),
            Self::Password { .. }
            | Self::Grant { .. }
            | Self::DataKey { .. }
            | Self::DataKeyDeleted { .. } => None,
        }
    }
}

/// Bytes, written as hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hex(pub Vec<u8>);

/// The text is not an even number of hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an even number of hexadecimal digits")]
pub struct InvalidHex;

impl TryFrom<String> for Hex {
    type Error = InvalidHex;
    fn try_from(text: String) -> Result<Self, InvalidHex> {
        let digit = |digit: u8| (digit as char).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let byte = |pair: &[u8]| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        };
        let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(byte).collect();
        bytes.map(Self).ok_or(InvalidHex)
    }
}

impl From<Hex> for String {
    fn from(Hex(bytes): Hex) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Why nothing is decided from a database until an Owner releases it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// `crossfade restore` wrote the database from a backup.
    Restored,
    /// The database is on another PostgreSQL server than before.
    AnotherServer,
    /// The database lacks ends that the journal recorded, and the journal does not contain all of them.
    JournalIncomplete,
    /// The journal that this instance uses is not there.
    JournalMissing,
    /// The journal is not the one that this database was used with.
    AnotherJournal,
    /// A line of the journal was changed or removed.
    JournalDamaged,
}

impl Cause {
    /// All causes.
    pub const ALL: [Self; 6] = [
        Self::Restored,
        Self::AnotherServer,
        Self::JournalIncomplete,
        Self::JournalMissing,
        Self::AnotherJournal,
        Self::JournalDamaged,
    ];

    /// Returns the word that is stored and sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Restored => "restored",
            Self::AnotherServer => "another_server",
            Self::JournalIncomplete => "journal_incomplete",
            Self::JournalMissing => "journal_missing",
            Self::AnotherJournal => "another_journal",
            Self::JournalDamaged => "journal_damaged",
        }
    }

    /// Parses a stored word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.as_str() == text)
    }

    /// Returns what happened, as a sentence.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Restored => "The database was restored from a backup.",
            Self::AnotherServer => "The database is on another PostgreSQL server than before.",
            Self::JournalIncomplete => {
                "The database is older than the journal, and the journal does not contain everything that ended since."
            }
            Self::JournalMissing => "The journal of this instance is missing.",
            Self::AnotherJournal => "The journal does not belong to this database.",
            Self::JournalDamaged => "The journal was changed.",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_hexadecimal_digits() {
        let text = String::from(Hex(vec![0, 0x9f, 0xff]));
        assert_eq!(text, "009fff");
        assert_eq!(Hex::try_from(text), Ok(Hex(vec![0, 0x9f, 0xff])));
        for wrong in ["0", "0g", "ä"] {
            assert_eq!(Hex::try_from(wrong.to_owned()), Err(InvalidHex), "{wrong}");
        }
    }

    #[test]
    fn a_hash_covers_every_end_before_it() {
        let one = EndHash::after(None, 1, "a");
        let two = EndHash::after(Some(one), 2, "b");
        let others = [
            EndHash::after(Some(EndHash::after(None, 1, "x")), 2, "b"),
            EndHash::after(Some(one), 3, "b"),
            EndHash::after(Some(one), 2, "c"),
            EndHash::after(None, 2, "b"),
        ];
        assert!(!others.contains(&two));
        assert_eq!(EndHash::try_from(String::from(two)), Ok(two));
        assert!(EndHash::try_from("00".to_owned()).is_err());
    }

    #[test]
    fn an_end_is_read_back_as_it_was_written() {
        let end = End::AccessToken {
            jti: "x".into(),
            expires_at: Timestamp::from_micros(5),
            at: Timestamp::from_micros(1),
        };
        let text = serde_json::to_string(&end).unwrap();
        assert_eq!(serde_json::from_str::<End>(&text).unwrap(), end);
        assert_eq!(Cause::parse("journal_missing"), Some(Cause::JournalMissing));
    }
}
