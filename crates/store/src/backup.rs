//! The content of a backup: every table and column of the schema, listed once, in an order in which rows can be
//! written. A test on both engines compares the list with the real schema, so that none is forgotten.
//!
//! Nine things are left out, because restoring them would undo their end:
//!
//! - One-time links. A link that was used after the backup would work again.
//! - Approved command lines. One that was signed in after the backup could be signed in again.
//! - Sessions. A session that was ended after the backup would resume.
//! - Logout tokens. They are too old to be accepted again.
//! - Known browsers. A browser that was ended after the backup would be known again.
//! - Sign-ins that wait for the code of a second factor. Their password may have been replaced after the backup.
//! - Deliveries of messages, and one-time links in them. The instance that queued them sends them, and a restored database must not send them again.
//! - Whether the database is in quarantine, and ends that are not in the journal yet. A restored database is always in
//!   quarantine.
//! - The values in remembered responses. They are kept for 10 minutes and must not be available afterwards. The
//!   responses themselves are kept: without them a repeated request would rotate a second time.

use crate::{
    StoreError, Tx, Value,
    catalogue::{Statement, statements as declared},
    db::Row,
};
use Kind::{Blob, Int, Local, Text, Withheld};
use crossfade_core::{Timestamp, audit::chain::ChainHash, ended::EndHash};
use std::sync::LazyLock;

/// Type of a column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A number, a boolean, or a time.
    Int,
    /// Text.
    Text,
    /// Bytes.
    Blob,
    /// Bytes that are not in a backup: NULL after a restore.
    Withheld,
    /// A number that is not in a backup, because it belongs to the database and not to the instance.
    Local,
}

impl Kind {
    fn is_kept(self) -> bool {
        !matches!(self, Withheld | Local)
    }
}

/// A table of the schema.
#[derive(Debug)]
pub struct Table {
    /// Name.
    pub name: &'static str,
    /// Its columns.
    pub columns: &'static [(&'static str, Kind)],
    /// Sort key of its rows.
    key: &'static str,
}

/// The table with the row that orders changes. It is restored as the state from which the transaction continues.
const HEAD: &str = "head";
const HISTORY: &str = "history";

/// Tables that are not in a backup.
pub const LEFT_OUT: &[&str] = &[
    "deliveries",
    "devices",
    "ends",
    "leader",
    "links",
    "logins",
    "logout_tokens",
    "message_links",
    "nodes",
    "oldest_program",
    "passkey_challenges",
    "pending_sign_ins",
    "quarantine",
    "sessions",
    "sign_in_failures",
    "unreadable_proxies",
];

/// Tables, each after the tables it refers to.
pub const TABLES: &[Table] = &[
    table(
        HEAD,
        "one",
        &[
            ("one", Int),
            ("change_seq", Int),
            ("audit_seq", Int),
            ("highest_time", Int),
            ("end_seq", Int),
            ("noting", Local),
            ("term", Local),
            ("passed_at", Local),
            ("passed_ran", Local),
            ("audit_hash", Blob),
            ("end_hash", Blob),
        ],
    ),
    table("instance", "one", &[("one", Int), ("id", Text), ("binding", Blob), ("created_at", Int)]),
    table(HISTORY, "one", &[("one", Int), ("journal", Text), ("system_id", Local)]),
    table("change_log", "seq", &[("seq", Int), ("kind", Text), ("subject", Text), ("made_at", Int)]),
    table("data_keys", "id", &[("id", Text), ("purpose", Text), ("sealed", Blob), ("created_at", Int)]),
    table(
        "properties",
        "id",
        &[("id", Text), ("name", Text), ("name_key", Text), ("created_at", Int), ("version", Int)],
    ),
    table(
        "environments",
        "slug",
        &[
            ("slug", Text),
            ("name", Text),
            ("kind", Text),
            ("position", Int),
            ("signing_alg", Text),
            ("show_once", Int),
            ("wipe_after_days", Int),
            ("max_age_days", Int),
            ("created_at", Int),
            ("version", Int),
            ("guard_extension_hours", Int),
            ("signing_key_rotation_days", Int),
            ("issuer_mode", Text),
            ("upstream", Text),
            ("unregistered_clients", Text),
            ("adopt_until", Int),
        ],
    ),
    table(
        "signing_keys",
        "kid",
        &[
            ("kid", Text),
            ("environment", Text),
            ("alg", Text),
            ("sealed", Blob),
            ("created_at", Int),
            ("active_from", Int),
            ("removed_at", Int),
        ],
    ),
    table(
        "limits",
        "property_id, environment",
        &[
            ("property_id", Text),
            ("environment", Text),
            ("audiences", Text),
            ("scopes", Text),
            ("version", Int),
        ],
    ),
    table(
        "clients",
        "id",
        &[
            ("id", Text),
            ("property_id", Text),
            ("name", Text),
            ("name_key", Text),
            ("description", Text),
            ("owners", Text),
            ("created_at", Int),
            ("deleted_at", Int),
            ("version", Int),
        ],
    ),
    table(
        "registrations",
        "id",
        &[
            ("id", Text),
            ("client_id", Text),
            ("environment", Text),
            ("oauth_client_id", Text),
            ("auth_basic", Int),
            ("auth_post", Int),
            ("scopes", Text),
            ("audience", Text),
            ("access_token_ttl_seconds", Int),
            ("may_introspect", Int),
            ("allowed_networks", Text),
            ("created_at", Int),
            ("disabled_at", Int),
            ("earlier_tokens_end_at", Int),
            ("enabled_at", Int),
            ("token_generation", Int),
            ("message_count", Int),
            ("self_rotation", Int),
            ("version", Int),
        ],
    ),
    table(
        "adoptions",
        "registration_id",
        &[("registration_id", Text), ("begun_at", Int), ("tested_at", Int), ("is_public", Int)],
    ),
    table(
        "upstream_credentials",
        "registration_id",
        &[
            ("registration_id", Text),
            ("method", Text),
            ("origins", Text),
            ("leading_slot", Text),
            ("version", Int),
            ("refused_since", Int),
            ("refusal_recorded_at", Int),
            ("basic_encoding", Text),
        ],
    ),
    table(
        "upstream_slots",
        "registration_id, slot",
        &[
            ("registration_id", Text),
            ("slot", Text),
            ("sealed", Blob),
            ("set_at", Int),
            ("state", Text),
            ("last_ok_at", Int),
            ("last_error", Text),
        ],
    ),
    table(
        "secrets",
        "id",
        &[
            ("id", Text),
            ("registration_id", Text),
            ("number", Int),
            ("created_at", Int),
            ("expires_at", Int),
            ("revoked_at", Int),
            ("digest", Blob),
            ("digest_key", Text),
            ("sealed", Blob),
            ("tokens_revoked_at", Int),
            ("compromised_at", Int),
            ("expiry_noted_at", Int),
            ("value_digest", Blob),
            ("value_digest_key", Text),
            ("origin", Text),
        ],
    ),
    table(
        "rotations",
        "id",
        &[
            ("id", Text),
            ("registration_id", Text),
            ("number", Int),
            ("actor_kind", Text),
            ("actor_id", Text),
            ("actor_name", Text),
            ("rotated_at", Int),
            ("transition_hours", Int),
            ("reason", Text),
            ("compromised", Int),
            ("outgoing_secret_id", Text),
            ("incoming_secret_id", Text),
            ("ended_as", Text),
            ("ended_at", Int),
        ],
    ),
    table(
        "drills",
        "id",
        &[
            ("id", Text),
            ("registration_id", Text),
            ("number", Int),
            ("secret_id", Text),
            ("actor_kind", Text),
            ("actor_id", Text),
            ("actor_name", Text),
            ("scheduled_at", Int),
            ("reason", Text),
            ("starts_at", Int),
            ("length_seconds", Int),
            ("repeat_count", Int),
            ("every_seconds", Int),
            ("ends_at", Int),
            ("stopped_at", Int),
            ("stopped_as", Text),
            ("stopper_kind", Text),
            ("stopper_id", Text),
            ("stopper_name", Text),
            ("told_at", Int),
        ],
    ),
    table(
        "refused_callers",
        "secret_id, drill_id, source_ip, user_agent, instance, gathered",
        &[
            ("secret_id", Text),
            ("drill_id", Text),
            ("source_ip", Text),
            ("user_agent", Text),
            ("instance", Text),
            ("gathered", Int),
            ("first_at", Int),
            ("last_at", Int),
            ("refusal_count", Int),
        ],
    ),
    table(
        "deadline_warnings",
        "rotation_id, deadline, mark_hours",
        &[
            ("rotation_id", Text),
            ("deadline", Int),
            ("mark_hours", Int),
            ("told_at", Int),
            ("extended_to", Int),
        ],
    ),
    table(
        "secret_usage",
        "secret_id",
        &[("secret_id", Text), ("first_used_at", Int), ("last_used_at", Int), ("use_count", Int)],
    ),
    table(
        "secret_usage_sources",
        "secret_id, source_ip, user_agent, instance, gathered",
        &[
            ("secret_id", Text),
            ("source_ip", Text),
            ("user_agent", Text),
            ("instance", Text),
            ("gathered", Int),
            ("first_used_at", Int),
            ("last_used_at", Int),
            ("use_count", Int),
            ("longest_pause", Int),
        ],
    ),
    table(
        "secret_usage_series",
        "secret_id, grain, bucket",
        &[("secret_id", Text), ("grain", Int), ("bucket", Int), ("use_count", Int)],
    ),
    table(
        "evidence_recorders",
        "node_id",
        &[("node_id", Text), ("recorded_until", Int), ("recording", Int), ("asked_at", Int)],
    ),
    table("evidence_gaps", "began_at", &[("began_at", Int), ("ended_at", Int), ("kind", Text)]),
    table(
        "authentication_failures",
        "hour, registration_id, secret_id, reason, source_ip",
        &[
            ("hour", Int),
            ("registration_id", Text),
            ("secret_id", Text),
            ("reason", Text),
            ("source_ip", Text),
            ("first_at", Int),
            ("last_at", Int),
            ("failure_count", Int),
            ("summed", Int),
        ],
    ),
    table(
        "token_revocations",
        "hour, registration_id, secret_id, source_ip",
        &[
            ("hour", Int),
            ("registration_id", Text),
            ("secret_id", Text),
            ("source_ip", Text),
            ("last_at", Int),
            ("revocation_count", Int),
        ],
    ),
    table("revoked_tokens", "jti", &[("jti", Text), ("expires_at", Int), ("revoked_at", Int)]),
    table(
        "users",
        "id",
        &[
            ("id", Text),
            ("kind", Text),
            ("email", Text),
            ("name", Text),
            ("name_key", Text),
            ("password_hash", Text),
            ("created_at", Int),
            ("deleted_at", Int),
            ("created_by", Text),
            ("linked_by", Text),
            ("entered_by", Text),
            ("entered_scope", Text),
            ("time_zone", Text),
            ("last_active_at", Int),
            ("version", Int),
        ],
    ),
    table(
        "factors",
        "id",
        &[
            ("id", Text),
            ("user_id", Text),
            ("kind", Text),
            ("name", Text),
            ("sealed", Blob),
            ("created_at", Int),
            ("confirmed_at", Int),
            ("last_used_at", Int),
            ("last_step", Int),
            ("credential_id", Text),
            ("signs_in_alone", Int),
        ],
    ),
    table("recovery_codes", "digest", &[("digest", Blob), ("user_id", Text), ("created_at", Int)]),
    table(
        "sign_in_policy",
        "one",
        &[
            ("one", Int),
            ("second_factor", Text),
            ("told_at", Int),
            ("secret_roles_told_at", Int),
            ("passwords", Text),
            ("break_glass", Text),
            ("passwords_on_since", Int),
            ("version", Int),
        ],
    ),
    table("link_makers", "account_id, maker_id", &[("account_id", Text), ("maker_id", Text)]),
    table(
        "grants",
        "id",
        &[
            ("id", Text),
            ("user_id", Text),
            ("role", Text),
            ("property_id", Text),
            ("client_id", Text),
            ("environments", Text),
            ("created_at", Int),
            ("provider_id", Text),
            ("provider_group", Text),
        ],
    ),
    table(
        "providers",
        "id",
        &[
            ("id", Text),
            ("name", Text),
            ("issuer", Text),
            ("client_id", Text),
            ("client_secret", Blob),
            ("client_authentication", Text),
            ("scopes", Text),
            ("domains", Text),
            ("groups_claim", Text),
            ("acr_values", Text),
            ("group_grants", Text),
            ("disabled_at", Int),
            ("deleted_at", Int),
            ("created_at", Int),
            ("version", Int),
            ("external_id_claim", Text),
            ("groups_from", Text),
            ("person_deleted_at", Int),
        ],
    ),
    table(
        "identities",
        "provider_id, subject",
        &[
            ("provider_id", Text),
            ("subject", Text),
            ("user_id", Text),
            ("created_account", Int),
            ("created_at", Int),
            ("last_used_at", Int),
            ("external_id", Text),
        ],
    ),
    table(
        "provisioning_tokens",
        "id",
        &[
            ("id", Text),
            ("provider_id", Text),
            ("digest", Blob),
            ("allowed_networks", Text),
            ("created_at", Int),
            ("expires_at", Int),
            ("last_used_at", Int),
            ("deleted_at", Int),
        ],
    ),
    table(
        "scim_users",
        "id",
        &[
            ("id", Text),
            ("provider_id", Text),
            ("external_id", Text),
            ("user_name", Text),
            ("details", Text),
            ("user_id", Text),
            ("lets_in", Int),
            ("created_at", Int),
            ("updated_at", Int),
            ("version", Int),
        ],
    ),
    table(
        "scim_groups",
        "id",
        &[
            ("id", Text),
            ("provider_id", Text),
            ("external_id", Text),
            ("name", Text),
            ("name_key", Text),
            ("created_at", Int),
            ("updated_at", Int),
            ("version", Int),
        ],
    ),
    table(
        "scim_members",
        "group_id, member_id",
        &[("group_id", Text), ("member_id", Text), ("added_at", Int)],
    ),
    table(
        "api_tokens",
        "id",
        &[
            ("id", Text),
            ("user_id", Text),
            ("name", Text),
            ("digest", Blob),
            ("scope", Text),
            ("created_at", Int),
            ("expires_at", Int),
            ("last_used_at", Int),
            ("deleted_at", Int),
            ("keyed", Int),
            ("only_client", Text),
            ("only_environment", Text),
        ],
    ),
    table(
        "audit_events",
        "seq",
        &[
            ("seq", Int),
            ("at", Int),
            ("actor_kind", Text),
            ("actor_id", Text),
            ("actor_name", Text),
            ("action", Text),
            ("outcome", Text),
            ("client_id", Text),
            ("environment", Text),
            ("target", Text),
            ("reason", Text),
            ("details", Text),
            ("source_ip", Text),
            ("request_id", Text),
            ("via_kind", Text),
            ("via_id", Text),
            ("previous_hash", Blob),
            ("hash", Blob),
        ],
    ),
    table("audit_positions", "sink", &[("sink", Text), ("seq", Int), ("at", Int)]),
    table("audit_keys", "id", &[("id", Text), ("sealed", Blob), ("created_at", Int)]),
    table("audit_statements", "seq, kind", &[("seq", Int), ("kind", Text), ("at", Int), ("signed", Text)]),
    table(
        "idempotency",
        "actor, key",
        &[
            ("actor", Text),
            ("key", Text),
            ("request", Blob),
            ("created_at", Int),
            ("reply", Text),
            ("sealed", Withheld),
        ],
    ),
    table(
        "webhooks",
        "id",
        &[
            ("id", Text),
            ("name", Text),
            ("url", Text),
            ("property_id", Text),
            ("client_id", Text),
            ("environments", Text),
            ("events", Text),
            ("format", Text),
            ("signing_secret", Blob),
            ("previous_secret", Blob),
            ("previous_until", Int),
            ("routing_key", Blob),
            ("created_at", Int),
            ("created_by", Text),
            ("disabled_at", Int),
            ("disabled_as", Text),
            ("failing_since", Int),
            ("last_failure_at", Int),
            ("version", Int),
        ],
    ),
    table(
        "notifications",
        "id",
        &[
            ("id", Text),
            ("created_at", Int),
            ("number", Int),
            ("event", Text),
            ("client_id", Text),
            ("client_name", Text),
            ("environment", Text),
            ("recipients", Text),
            ("actor_name", Text),
            ("actor_kind", Text),
            ("source", Text),
            ("reason", Text),
            ("details", Text),
        ],
    ),
    table("seen", "rotation_id, user_id", &[("rotation_id", Text), ("user_id", Text), ("seen_at", Int)]),
    table("messages_off", "subject, word", &[("subject", Text), ("word", Text), ("since", Int)]),
    // The place that was released. A restored database is in another one, or has another file there.
    table(
        "sending_place",
        "one",
        &[("one", Int), ("place", Text), ("held_place", Text), ("held_since", Int)],
    ),
    table("told", "cause", &[("cause", Text), ("told_at", Int), ("subject", Text)]),
    table(
        "unregistered_clients",
        "environment, client_id",
        &[
            ("environment", Text),
            ("client_id", Text),
            ("first_seen_at", Int),
            ("last_seen_at", Int),
            ("last_token_at", Int),
            ("accepted_count", Int),
            ("refused_count", Int),
            ("failed_count", Int),
            ("last_status", Int),
            ("methods", Text),
            ("sources", Text),
        ],
    ),
];

declared! {
    ANY_LINK = "SELECT created_at FROM links LIMIT 1";
    ANY_SESSION = "SELECT created_at FROM sessions LIMIT 1";
    COUNTED = "SELECT one FROM head WHERE change_seq > 0 OR audit_seq > 0";
}

impl Table {
    /// Returns the columns in a backup, in order.
    pub fn kept(&self) -> impl Iterator<Item = (&'static str, Kind)> {
        self.columns.iter().copied().filter(|(_, kind)| kind.is_kept())
    }

    fn made(&self) -> Result<&'static Made, StoreError> {
        let made = MADE.iter().find(|made| made.table == self.name);
        made.ok_or_else(|| StoreError::Open(format!("{} is no table of a backup", self.name)))
    }
}

impl Tx {
    /// Passes on every row of a table, one by one, as the values of the columns in a backup.
    pub async fn each_row<E: From<StoreError>>(
        &mut self,
        table: &Table,
        mut work: impl FnMut(Vec<Value>) -> Result<(), E>,
    ) -> Result<u64, E> {
        let select = table.made()?.select;
        self.each(select, vec![], |row| {
            work(table.kept().map(|(name, kind)| value(row, name, kind)).collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Writes a row passed on by [`Self::each_row`].
    pub async fn insert_row(&mut self, table: &Table, values: Vec<Value>) -> Result<(), StoreError> {
        if table.name != HEAD {
            return self.execute(table.made()?.insert, values).await.map(drop);
        }
        match values.as_slice() {
            [
                _,
                Value::Int(Some(change)),
                Value::Int(Some(audit)),
                Value::Int(Some(highest)),
                Value::Int(Some(end)),
                Value::Blob(hash),
                Value::Blob(end_hash),
            ] => {
                let hash = hash.as_deref().and_then(ChainHash::from_bytes);
                let end_hash = end_hash.as_deref().and_then(EndHash::from_bytes);
                let highest = Timestamp::from_micros(*highest);
                self.continue_from(*change, (*end, end_hash), (*audit, hash), highest);
                Ok(())
            }
            _ => Err(StoreError::Corrupt { table: HEAD, column: "one".into(), row: "1".into() }),
        }
    }

    /// Whether the database contains nothing but its schema.
    pub async fn is_empty(&mut self) -> Result<bool, StoreError> {
        let tables = MADE.iter().filter(|made| made.table != HEAD).map(|made| made.any);
        for any in tables.chain([ANY_LINK, ANY_SESSION, COUNTED]) {
            if self.optional(any, vec![]).await?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Returns the statements generated from the list.
pub(crate) fn statements() -> impl Iterator<Item = &'static Statement> {
    STATEMENTS.iter().chain(MADE.iter().flat_map(|made| [&made.select, &made.insert, &made.any]))
}

struct Made {
    table: &'static str,
    select: Statement,
    insert: Statement,
    any: Statement,
}

/// The generated statements. Created once and kept forever, like the texts of all other statements.
static MADE: LazyLock<Vec<Made>> = LazyLock::new(|| TABLES.iter().map(Made::from).collect());

impl From<&Table> for Made {
    fn from(Table { name, columns, key }: &Table) -> Self {
        let kept: Vec<&str> =
            columns.iter().filter(|(_, kind)| kind.is_kept()).map(|(name, _)| *name).collect();
        let arguments: Vec<String> = (1..=kept.len()).map(|n| format!("${n}")).collect();
        let (kept, arguments) = (kept.join(", "), arguments.join(", "));
        let statement =
            |what: &str, sql: String| Statement { name: format!("{what} {name}").leak(), sql: sql.leak() };
        Self {
            table: name,
            select: statement("BACK_UP", format!("SELECT {kept} FROM {name} ORDER BY {key}")),
            insert: statement("RESTORE", format!("INSERT INTO {name} ({kept}) VALUES ({arguments})")),
            any: statement("ANY", format!("SELECT {kept} FROM {name} LIMIT 1")),
        }
    }
}

const fn table(name: &'static str, key: &'static str, columns: &'static [(&'static str, Kind)]) -> Table {
    Table { name, columns, key }
}

fn value(row: &Row, column: &str, kind: Kind) -> Result<Value, StoreError> {
    Ok(match kind {
        Int | Local => Value::Int(row.opt_int(column)?),
        Text => Value::Text(row.opt_text(column)?),
        Blob | Withheld => Value::Blob(row.opt_blob(column)?),
    })
}
