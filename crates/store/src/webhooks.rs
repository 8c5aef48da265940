//! Webhooks.

use crate::{PageStart, StoreError, Tx, Value, catalogue::statements, db::Row};
use crossfade_core::{
    ClientId, PropertyId, Timestamp, UserId, WebhookId,
    audit::Action,
    environment::Slug,
    messages::{AbandonedAs, Channel},
    text::Name,
    webhook::{Choice, DisabledAs, Failing, WebhookFormat, parse_kind},
};
use std::collections::HashMap;

/// A stored webhook.
#[derive(Clone)]
pub struct Webhook {
    /// ID.
    pub id: WebhookId,
    /// Name.
    pub name: Name,
    /// URL. It can itself be a secret.
    pub url: String,
    /// Property whose clients it gets messages about.
    pub property_id: Option<PropertyId>,
    /// Client that it gets messages about.
    pub client_id: Option<ClientId>,
    /// Environments; empty: all.
    pub environments: Vec<Slug>,
    /// Kinds of events; empty: all.
    pub events: Vec<Action>,
    /// Form of the bodies.
    pub format: WebhookFormat,
    /// Signing secret, sealed.
    pub signing_secret: Vec<u8>,
    /// The earlier signing secret, sealed.
    pub previous_secret: Option<Vec<u8>>,
    /// Until when the earlier secret signs.
    pub previous_until: Option<Timestamp>,
    /// Routing key of PagerDuty, sealed.
    pub routing_key: Option<Vec<u8>>,
    /// When it was created.
    pub created_at: Timestamp,
    /// Account that created it.
    pub created_by: UserId,
    /// When and why it was disabled; `None` if it is enabled.
    pub disabled: Option<(Timestamp, DisabledAs)>,
    /// Failures since the last success.
    pub failing: Option<Failing>,
    /// Version, increased by every change that a person sees as one.
    pub version: i64,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Webhook({})", self.id)
    }
}

impl Webhook {
    /// Returns what it has chosen.
    pub fn choice(&self) -> Choice<'_> {
        Choice { environments: &self.environments, events: &self.events, format: self.format }
    }

    /// Whether it gets messages about a client.
    pub fn covers(&self, property: &PropertyId, client: &ClientId) -> bool {
        self.property_id.as_ref().is_none_or(|own| own == property)
            && self.client_id.as_ref().is_none_or(|own| own == client)
    }
}

/// What is known of a webhook by its ID.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WebhookName {
    /// Its name.
    pub name: Name,
    /// Property whose clients it gets messages about.
    pub property_id: Option<PropertyId>,
    /// Client that it gets messages about.
    pub client_id: Option<ClientId>,
    /// Whether it is enabled, and its format says everything that happens to a client.
    pub hears: bool,
}

/// A webhook with deliveries that are due.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DueWebhook {
    /// The webhook.
    pub id: WebhookId,
    /// Property that it belongs to, also by its client; `None` for the platform.
    pub property: Option<PropertyId>,
}

macro_rules! columns {
    () => {
        "id, name, url, property_id, client_id, environments, events, format, signing_secret, previous_secret, previous_until, routing_key, created_at, created_by, disabled_at, disabled_as, failing_since, last_failure_at, version"
    };
}

statements! {
    INSERT = "INSERT INTO webhooks (id, name, url, property_id, client_id, environments, events, format, signing_secret, routing_key, created_at, created_by, version)
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 1)";
    GET = concat!("SELECT ", columns!(), " FROM webhooks WHERE id = $1");
    NAMED = "SELECT w.id, w.name, w.property_id, w.client_id, w.format, w.disabled_at FROM webhooks w JOIN (VALUES {rows:1}) AS v ON w.id = v.column1";
    LIST = concat!("SELECT ", columns!(), " FROM webhooks
            WHERE CAST($1 AS BIGINT) IS NULL OR created_at > $1 OR (created_at = $1 AND id > $2)
            ORDER BY created_at, id LIMIT $3");
    ALL = concat!("SELECT ", columns!(), " FROM webhooks ORDER BY id");
    // Those that may get a message about a client. Their choice decides.
    FOR_CLIENT = concat!("SELECT ", columns!(), " FROM webhooks WHERE disabled_at IS NULL
            AND (property_id IS NULL OR property_id = $1) AND (client_id IS NULL OR client_id = $2) ORDER BY id");
    COUNT = "SELECT CAST(COUNT(*) AS BIGINT) AS webhooks FROM webhooks
             WHERE COALESCE(property_id, '') = COALESCE(CAST($1 AS TEXT), '') AND COALESCE(client_id, '') = COALESCE(CAST($2 AS TEXT), '')";
    DISABLED = "SELECT CAST(COUNT(*) AS BIGINT) AS webhooks FROM webhooks WHERE disabled_as IN ($1, $2)";
    FAILING = "SELECT CAST(COUNT(*) AS BIGINT) AS webhooks, CAST(MIN(failing_since) AS BIGINT) AS since FROM webhooks
             WHERE failing_since IS NOT NULL AND disabled_at IS NULL";
    UPDATE = "UPDATE webhooks SET name = $2, url = $3, environments = $4, events = $5, routing_key = $6, disabled_at = $7, disabled_as = $8,
              failing_since = $9, last_failure_at = $10, version = version + 1 WHERE id = $1";
    SET_SECRETS = "UPDATE webhooks SET signing_secret = $2, previous_secret = $3, previous_until = $4, version = version + 1 WHERE id = $1";
    WORKS = "UPDATE webhooks SET failing_since = NULL, last_failure_at = NULL WHERE id = $1 AND failing_since IS NOT NULL";
    FAILS = "UPDATE webhooks SET failing_since = $2, last_failure_at = $3 WHERE id = $1";
    DISABLE = "UPDATE webhooks SET disabled_at = $2, disabled_as = $3, version = version + 1 WHERE id = $1 AND disabled_at IS NULL";
    DELETE_DELIVERIES = "DELETE FROM deliveries WHERE channel = $1 AND recipient = $2";
    DELETE = "DELETE FROM webhooks WHERE id = $1";
    DELETE_OF_PROPERTY = "DELETE FROM webhooks WHERE property_id = $1";
    // The message that a client was deleted is sent first.
    DELETE_OF_DELETED = "DELETE FROM webhooks WHERE client_id IN (SELECT id FROM clients WHERE deleted_at IS NOT NULL)
             AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.channel = $1 AND d.recipient = webhooks.id AND d.sent_at IS NULL AND d.abandoned_at IS NULL)";
    IN_ENVIRONMENT = "SELECT id FROM webhooks WHERE environments LIKE $1 LIMIT 1";
    NAMED_BY = "SELECT id FROM clients WHERE owners LIKE $1 AND deleted_at IS NULL LIMIT 1";
    ABANDON_OF = "UPDATE deliveries SET abandoned_at = $3, abandoned_as = $4, leased_by = NULL, leased_until = NULL
             WHERE channel = $1 AND recipient = $2 AND sent_at IS NULL AND abandoned_at IS NULL";
    // A list contains a word if its JSON contains it in quotes. An owner of the client has chosen all kinds.
    ABANDON_UNCHOSEN = "UPDATE deliveries SET abandoned_at = $3, abandoned_as = $4, leased_by = NULL, leased_until = NULL
             WHERE channel = $1 AND recipient = $2 AND sent_at IS NULL AND abandoned_at IS NULL
               AND EXISTS (SELECT 1 FROM notifications n WHERE n.id = deliveries.notification_id AND n.event <> $7
                 AND ((CAST($5 AS TEXT) <> '[]' AND (n.environment IS NULL OR $5 NOT LIKE '%\"' || n.environment || '\"%'))
                   OR (CAST($6 AS TEXT) <> '[]' AND $6 NOT LIKE '%\"' || n.event || '\"%'
                     AND NOT EXISTS (SELECT 1 FROM clients c WHERE c.id = n.client_id AND c.owners LIKE '%\"' || $2 || '\"%'))))";
    DUE = "SELECT w.id, COALESCE(w.property_id, c.property_id) AS property_id FROM webhooks w LEFT JOIN clients c ON c.id = w.client_id
             JOIN (SELECT recipient, MIN(next_attempt_at) AS due_at FROM deliveries WHERE channel = $1 AND sent_at IS NULL AND abandoned_at IS NULL
                   AND next_attempt_at <= $2 AND (leased_until IS NULL OR leased_until <= $2) GROUP BY recipient) d ON d.recipient = w.id
             WHERE w.disabled_at IS NULL ORDER BY d.due_at, w.id";
    ANY = "SELECT id FROM webhooks WHERE disabled_at IS NULL LIMIT 1";
    ENABLED_VERSION = "SELECT version FROM webhooks WHERE id = $1 AND disabled_at IS NULL";
}

/// Returns the environments and events as they are stored.
fn stored<'a>(words: impl Iterator<Item = &'a str>) -> Value {
    serde_json::Value::from(words.collect::<Vec<_>>()).to_string().into()
}

fn words<T>(
    row: &Row,
    column: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, StoreError> {
    row.parsed(column, |text| {
        let words: Vec<String> = serde_json::from_str(text).ok()?;
        words.iter().map(|word| parse(word)).collect()
    })
}

fn webhook(row: &Row) -> Result<Webhook, StoreError> {
    let disabled_as = row.opt_parsed("disabled_as", DisabledAs::parse)?;
    let (since, last) = (row.opt_time("failing_since")?, row.opt_time("last_failure_at")?);
    Ok(Webhook {
        id: row.parsed("id", |text| WebhookId::parse(text).ok())?,
        name: Name::from_stored(row.text("name")?),
        url: row.text("url")?,
        property_id: row.opt_parsed("property_id", |text| PropertyId::parse(text).ok())?,
        client_id: row.opt_parsed("client_id", |text| ClientId::parse(text).ok())?,
        environments: words(row, "environments", |word| Some(Slug::from_stored(word.to_owned())))?,
        events: words(row, "events", parse_kind)?,
        format: row.parsed("format", WebhookFormat::parse)?,
        signing_secret: row.blob("signing_secret")?,
        previous_secret: row.opt_blob("previous_secret")?,
        previous_until: row.opt_time("previous_until")?,
        routing_key: row.opt_blob("routing_key")?,
        created_at: row.time("created_at")?,
        created_by: row.parsed("created_by", |text| UserId::parse(text).ok())?,
        disabled: row.opt_time("disabled_at")?.map(|at| (at, disabled_as.unwrap_or(DisabledAs::Disabled))),
        failing: since.map(|since| Failing { since, last: last.unwrap_or(since) }),
        version: row.int("version")?,
    })
}

const CHANNEL: &str = Channel::Webhook.as_str();

impl Tx {
    /// Stores a new webhook.
    pub async fn insert_webhook(&mut self, new: &Webhook) -> Result<(), StoreError> {
        let args = vec![
            new.id.as_str().into(),
            new.name.as_str().into(),
            new.url.as_str().into(),
            new.property_id.as_ref().map(PropertyId::as_str).into(),
            new.client_id.as_ref().map(ClientId::as_str).into(),
            stored(new.environments.iter().map(Slug::as_str)),
            stored(new.events.iter().map(|event| event.as_str())),
            new.format.as_str().into(),
            new.signing_secret.as_slice().into(),
            new.routing_key.clone().into(),
            new.created_at.into(),
            new.created_by.as_str().into(),
        ];
        self.execute(INSERT, args).await.map(drop)
    }

    /// Returns a webhook.
    pub async fn webhook(&mut self, id: &WebhookId) -> Result<Option<Webhook>, StoreError> {
        self.optional(GET, vec![id.as_str().into()]).await?.as_ref().map(webhook).transpose()
    }

    /// Returns the names of webhooks by their IDs, in one statement.
    pub async fn webhook_names(
        &mut self,
        ids: &[WebhookId],
    ) -> Result<HashMap<WebhookId, WebhookName>, StoreError> {
        let keys: Vec<_> = ids.iter().map(|id| vec![id.as_str().into()]).collect();
        let named = |row: &Row| {
            let id = row.parsed("id", |text| WebhookId::parse(text).ok())?;
            let format = row.parsed("format", WebhookFormat::parse)?;
            let named = WebhookName {
                hears: format.says_everything() && row.opt_time("disabled_at")?.is_none(),
                name: Name::from_stored(row.text("name")?),
                property_id: row.opt_parsed("property_id", |text| PropertyId::parse(text).ok())?,
                client_id: row.opt_parsed("client_id", |text| ClientId::parse(text).ok())?,
            };
            Ok((id, named))
        };
        self.look_up(NAMED, &keys).await?.iter().map(named).collect()
    }

    /// Returns a page of webhooks, oldest first.
    pub async fn webhooks(&mut self, page: &PageStart) -> Result<Vec<Webhook>, StoreError> {
        self.rows(LIST, page.args()).await?.iter().map(webhook).collect()
    }

    /// Returns all webhooks. One that cannot be read does not hide the others.
    pub async fn all_webhooks(&mut self) -> Result<Vec<Result<Webhook, StoreError>>, StoreError> {
        Ok(self.rows(ALL, vec![]).await?.iter().map(webhook).collect())
    }

    /// Returns the enabled webhooks that may get a message about a client. One that cannot be read is left out, so that
    /// it prevents no change.
    pub async fn webhooks_for(
        &mut self,
        property: &PropertyId,
        client: &ClientId,
    ) -> Result<Vec<Webhook>, StoreError> {
        let rows = self.rows(FOR_CLIENT, vec![property.as_str().into(), client.as_str().into()]).await?;
        Ok(rows.iter().filter_map(|row| webhook(row).ok()).collect())
    }

    /// Returns the number of webhooks of the platform, a property or a client.
    pub async fn count_webhooks(
        &mut self,
        property: Option<&PropertyId>,
        client: Option<&ClientId>,
    ) -> Result<i64, StoreError> {
        let args = vec![property.map(PropertyId::as_str).into(), client.map(ClientId::as_str).into()];
        self.one(COUNT, args).await?.int("webhooks")
    }

    /// Returns the number of webhooks that were disabled because of their receivers.
    pub async fn count_disabled_webhooks(&mut self) -> Result<i64, StoreError> {
        let args = [DisabledAs::Gone, DisabledAs::Failing].map(|it| it.as_str().into()).into();
        self.one(DISABLED, args).await?.int("webhooks")
    }

    /// Returns the number of enabled webhooks that fail, and since when the first of them does.
    pub async fn failing_webhooks(&mut self) -> Result<(i64, Option<Timestamp>), StoreError> {
        let row = self.one(FAILING, vec![]).await?;
        Ok((row.int("webhooks")?, row.opt_time("since")?))
    }

    /// Stores the changeable properties of a webhook, with a new version.
    pub async fn update_webhook(&mut self, changed: &Webhook) -> Result<(), StoreError> {
        let (disabled_at, disabled_as) = changed.disabled.unzip();
        let args = vec![
            changed.id.as_str().into(),
            changed.name.as_str().into(),
            changed.url.as_str().into(),
            stored(changed.environments.iter().map(Slug::as_str)),
            stored(changed.events.iter().map(|event| event.as_str())),
            changed.routing_key.clone().into(),
            disabled_at.into(),
            disabled_as.map(DisabledAs::as_str).into(),
            changed.failing.map(|failing| failing.since).into(),
            changed.failing.map(|failing| failing.last).into(),
        ];
        self.execute(UPDATE, args).await.map(drop)
    }

    /// Stores the signing secrets of a webhook, with a new version.
    pub async fn set_signing_secrets(&mut self, changed: &Webhook) -> Result<(), StoreError> {
        let args = vec![
            changed.id.as_str().into(),
            changed.signing_secret.as_slice().into(),
            changed.previous_secret.clone().into(),
            changed.previous_until.into(),
        ];
        self.execute(SET_SECRETS, args).await.map(drop)
    }

    /// Records that a delivery of a webhook succeeded. Returns whether the ones before failed.
    pub async fn webhook_works(&mut self, id: &WebhookId) -> Result<bool, StoreError> {
        Ok(self.execute(WORKS, vec![id.as_str().into()]).await? == 1)
    }

    /// Records the failures of a webhook.
    pub async fn webhook_fails(&mut self, id: &WebhookId, failing: Failing) -> Result<(), StoreError> {
        let args = vec![id.as_str().into(), failing.since.into(), failing.last.into()];
        self.execute(FAILS, args).await.map(drop)
    }

    /// Disables a webhook. Returns whether it was enabled.
    pub async fn disable_webhook(
        &mut self,
        id: &WebhookId,
        now: Timestamp,
        reason: DisabledAs,
    ) -> Result<bool, StoreError> {
        let args = vec![id.as_str().into(), now.into(), reason.as_str().into()];
        Ok(self.execute(DISABLE, args).await? == 1)
    }

    /// Deletes a webhook and its deliveries.
    pub async fn delete_webhook(&mut self, id: &WebhookId) -> Result<(), StoreError> {
        self.execute(DELETE_DELIVERIES, vec![CHANNEL.into(), id.as_str().into()]).await?;
        self.execute(DELETE, vec![id.as_str().into()]).await.map(drop)
    }

    /// Deletes the webhooks of a property that has no clients, and therefore no deliveries but tests.
    pub async fn delete_webhooks_of_property(&mut self, property: &PropertyId) -> Result<(), StoreError> {
        self.execute(DELETE_OF_PROPERTY, vec![property.as_str().into()]).await.map(drop)
    }

    /// Deletes the webhooks of deleted clients that have sent everything.
    pub async fn delete_webhooks_of_deleted_clients(&mut self) -> Result<u64, StoreError> {
        self.execute(DELETE_OF_DELETED, vec![CHANNEL.into()]).await
    }

    /// Whether any webhook is limited to this environment, alone or with others.
    pub async fn environment_has_webhooks(&mut self, slug: &Slug) -> Result<bool, StoreError> {
        Ok(self.optional(IN_ENVIRONMENT, vec![format!("%\"{slug}\"%").into()]).await?.is_some())
    }

    /// Returns a client that has the webhook as an owner.
    pub async fn client_owned_by(&mut self, id: &WebhookId) -> Result<Option<ClientId>, StoreError> {
        let row = self.optional(NAMED_BY, vec![format!("%\"{id}\"%").into()]).await?;
        row.map(|row| row.parsed("id", |text| ClientId::parse(text).ok())).transpose()
    }

    /// Abandons the waiting deliveries of a webhook that is disabled. Returns their number.
    pub async fn abandon_deliveries_of(&mut self, id: &WebhookId, now: Timestamp) -> Result<u64, StoreError> {
        let reason = AbandonedAs::Disabled.as_str();
        self.execute(ABANDON_OF, vec![CHANNEL.into(), id.as_str().into(), now.into(), reason.into()]).await
    }

    /// Abandons the waiting deliveries of a webhook that its choice does not include any more. Returns their number. Those to
    /// PagerDuty stay: what opens an incident that is not chosen is left out when it is tried, and what resolves one is sent.
    pub async fn abandon_unchosen_deliveries(
        &mut self,
        webhook: &Webhook,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        if !webhook.format.says_everything() {
            return Ok(0);
        }
        let args = vec![
            CHANNEL.into(),
            webhook.id.as_str().into(),
            now.into(),
            AbandonedAs::NotChosen.as_str().into(),
            stored(webhook.environments.iter().map(Slug::as_str)),
            stored(webhook.events.iter().map(|event| event.as_str())),
            Action::WebhookTested.as_str().into(),
        ];
        self.execute(ABANDON_UNCHOSEN, args).await
    }

    /// Returns the version of a webhook that is enabled; `None` if there is none.
    pub async fn enabled_version_of(&mut self, id: &WebhookId) -> Result<Option<i64>, StoreError> {
        self.optional(ENABLED_VERSION, vec![id.as_str().into()])
            .await?
            .map(|row| row.int("version"))
            .transpose()
    }

    /// Whether any webhook is enabled.
    pub async fn has_webhooks(&mut self) -> Result<bool, StoreError> {
        Ok(self.optional(ANY, vec![]).await?.is_some())
    }

    /// Returns the webhooks that have deliveries which are due and not leased, the longest due first.
    pub async fn due_webhooks(&mut self, now: Timestamp) -> Result<Vec<DueWebhook>, StoreError> {
        let rows = self.rows(DUE, vec![CHANNEL.into(), now.into()]).await?;
        let due = |row: &Row| {
            Ok(DueWebhook {
                id: row.parsed("id", |text| WebhookId::parse(text).ok())?,
                property: row.opt_parsed("property_id", |text| PropertyId::parse(text).ok())?,
            })
        };
        rows.iter().map(due).collect()
    }
}
