//! Webhooks: list, read, create, change, delete.

use crate::{
    app::App,
    error::Error,
    frame::{
        act::Act,
        cursor::{ListQuery, Scan},
        entry::About,
        idempotency::Repeatable,
        principal::Principal,
        request::{Deletion, Input, Request},
        targets::{ClientPath, Names, PropertyPath, Target, forbidden, forbidden_because, forbidden_on},
        versioned::Versioned,
    },
    keys::place::SealPlace,
};
use aws_lc_rs::digest::{SHA256, digest};
use crossfade_core::{
    ClientId, Code, Operation, Problem, PropertyId, SecretId, WebhookId,
    api::{self, CreateWebhook, Page, UpdateWebhook},
    audit::{Action, Event, WebhookFacts},
    environment::{MAX_ENVIRONMENTS, Slug},
    operations::Access,
    roles::{Grant, Object, Permission},
    text::Name,
    webhook::{DisabledAs, MAX_WEBHOOKS, PAGERDUTY_URL, WebhookFormat, parse_kind, still_signs},
};
use crossfade_outbound::{Poster, SigningSecret};
use crossfade_store::{Client, Property, Tx, Webhook};
use tokio::time::Instant;

/// Permission for everything about webhooks.
pub(super) const MANAGE: Permission = Permission::WebhookManage;
/// Maximum number of kinds in a list.
const MAX_EVENTS: usize = 50;
/// What confirms a webhook of the platform.
const PLATFORM: &str = "platform";

/// A webhook with the name of what it belongs to, for a page.
#[derive(Clone, Debug)]
pub struct WebhookPage {
    /// The webhook, with its version.
    pub webhook: Versioned<api::Webhook>,
    /// Name of the client or property whose messages it gets; `None` for the platform.
    pub scope: Option<String>,
    /// Its deliveries, newest first.
    pub deliveries: Page<api::WebhookDelivery>,
}

/// What a webhook gets messages about.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    Platform,
    Property(Property),
    Client(Client),
}

/// A webhook and what it gets messages about.
pub(crate) struct Loaded {
    pub(crate) webhook: Webhook,
    pub(crate) subject: Subject,
}

impl Subject {
    /// Returns the name of the client or property; `None` for the platform.
    pub(super) fn name(&self) -> Option<&Name> {
        match self {
            Self::Platform => None,
            Self::Property(property) => Some(&property.name),
            Self::Client(client) => Some(&client.name),
        }
    }

    /// Requires its name, because messages are redirected (rule 24).
    fn confirm(&self, typed: Option<&str>) -> Result<(), Problem> {
        let is_typed = match self.name() {
            Some(name) => typed.is_some_and(|typed| name.is_typed_as(typed)),
            None => typed.is_some_and(|typed| typed.trim() == PLATFORM),
        };
        if is_typed {
            return Ok(());
        }
        let what = match self {
            Self::Platform => "be platform, because the webhook gets the messages of the platform",
            Self::Property(_) => "match the name of the property exactly",
            Self::Client(_) => "match the name of the client exactly",
        };
        let text = format!("confirm_name must {what}. Nothing was changed.");
        Err(Problem::new(Code::ConfirmationMismatch, text).with_field("confirm_name"))
    }

    pub(super) fn ids(&self) -> SubjectIds<'_> {
        match self {
            Self::Platform => SubjectIds::Platform,
            Self::Property(_) => SubjectIds::Property,
            Self::Client(client) => SubjectIds::Client(&client.property_id, &client.id),
        }
    }

    /// Refuses a principal who cannot manage the webhooks of this subject in these environments; none: in all.
    fn permit(&self, principal: &Principal, environments: &[Slug]) -> Result<(), Error> {
        self.ids().permit(principal, environments)
    }

    /// Loads what a webhook gets messages about; `None` if it has been deleted.
    async fn of(tx: &mut Tx, webhook: &Webhook) -> Result<Option<Self>, Error> {
        Ok(match (&webhook.client_id, &webhook.property_id) {
            (Some(client), _) => tx.client(client).await?.map(Self::Client),
            (None, Some(property)) => tx.property(property).await?.map(Self::Property),
            (None, None) => Some(Self::Platform),
        })
    }
}

/// The ids of what a webhook gets messages about.
#[derive(Clone, Copy)]
pub(super) enum SubjectIds<'a> {
    Platform,
    /// Its webhooks are managed with the rights on the platform, because they tell of more than one client.
    Property,
    Client(&'a PropertyId, &'a ClientId),
}

impl<'a> SubjectIds<'a> {
    /// Returns the object of a permission: in an environment, or as a whole.
    pub(super) fn object(self, environment: Option<&'a Slug>) -> Object<'a> {
        match (self, environment) {
            (Self::Platform | Self::Property, _) => Object::Platform,
            (Self::Client(property, client), None) => Object::Client(property, client),
            (Self::Client(property, client), Some(slug)) => Object::Registration(property, client, slug),
        }
    }

    /// Whether a grant lets its holder manage the webhooks in these environments; none: in all.
    pub(super) fn is_managed_with(self, grant: &Grant, environments: &'a [Slug]) -> bool {
        match environments {
            [] => grant.allows(MANAGE, self.object(None)),
            some => some.iter().all(|slug| grant.allows(MANAGE, self.object(Some(slug)))),
        }
    }

    fn permit(self, principal: &Principal, environments: &'a [Slug]) -> Result<(), Error> {
        if matches!(self, Self::Property) && !principal.may(MANAGE, Object::Platform) {
            let text = "A webhook of a property requires the permission webhook:manage on the platform. Nothing was changed.";
            return Err(forbidden_because(MANAGE, text));
        }
        if environments.is_empty() && !principal.may(MANAGE, self.object(None)) {
            return Err(forbidden(MANAGE));
        }
        match environments.iter().find(|slug| !principal.may(MANAGE, self.object(Some(slug)))) {
            Some(slug) => Err(forbidden_on(MANAGE, self.object(Some(slug)))),
            None => Ok(()),
        }
    }
}

/// Returns those webhooks that the principal can manage, in one statement. Those of deleted clients are left out.
async fn manageable(
    tx: &mut Tx,
    principal: &Principal,
    mut webhooks: Vec<Webhook>,
) -> Result<Vec<Webhook>, Error> {
    let clients: Vec<ClientId> = webhooks.iter().filter_map(|webhook| webhook.client_id.clone()).collect();
    let properties = match clients.is_empty() {
        true => Default::default(),
        false => tx.properties_of_clients(&clients.iter().collect::<Vec<_>>()).await?,
    };
    webhooks.retain(|webhook| {
        let subject = match (&webhook.client_id, &webhook.property_id) {
            (Some(client), _) => match properties.get(client) {
                Some(property) => SubjectIds::Client(property, client),
                None => return false,
            },
            (None, Some(_)) => SubjectIds::Property,
            (None, None) => SubjectIds::Platform,
        };
        subject.permit(principal, &webhook.environments).is_ok()
    });
    Ok(webhooks)
}

/// A webhook by its id, as sent.
#[derive(Clone, Copy, Debug)]
pub struct WebhookPath<'a>(pub &'a str);

impl Target for WebhookPath<'_> {
    type Loaded = Loaded;

    async fn load(&self, tx: &mut Tx, principal: &Principal, _: Access) -> Result<Loaded, Error> {
        let id = WebhookId::parse(self.0).map_err(|_| Problem::not_found())?;
        let webhook = tx.webhook(&id).await?.ok_or_else(Problem::not_found)?;
        let subject = Subject::of(tx, &webhook).await?.ok_or_else(Problem::not_found)?;
        // Its URL and its log are for those who manage it: to others, it does not exist.
        subject.permit(principal, &webhook.environments).map_err(|_| Error::hidden())?;
        Ok(Loaded { webhook, subject })
    }

    fn names(&self) -> Names {
        Names { target: WebhookId::parse(self.0).ok().map(String::from), ..Names::default() }
    }
}

/// Target of a new webhook. What it gets messages about is in the body.
#[derive(Clone, Copy)]
struct NewWebhook;

impl Target for NewWebhook {
    type Loaded = ();

    async fn load(&self, _: &mut Tx, principal: &Principal, _: Access) -> Result<(), Error> {
        if principal.may_somewhere(MANAGE) { Ok(()) } else { Err(forbidden(MANAGE)) }
    }
}

impl Repeatable for Versioned<api::Webhook> {
    async fn may_be_given(&self, principal: &Principal, operation: Operation) -> Result<(), Error> {
        // What a new webhook gets messages about is in the body, so its target does not ask for it. The reply tells its
        // sender nothing new.
        let may = match self.object.client_id {
            Some(_) => principal.may_somewhere(MANAGE),
            None => principal.may(MANAGE, Object::Platform),
        };
        if operation != Operation::CreateWebhook || may { Ok(()) } else { Err(forbidden(MANAGE)) }
    }

    /// Whoever still manages the webhook gets the signing secret again.
    async fn may_have_values(
        &self,
        act: &mut Act<'_>,
        principal: &Principal,
        _: Operation,
    ) -> Result<bool, Error> {
        let Some(webhook) = act.tx.webhook(&self.object.id).await? else { return Ok(false) };
        let Some(subject) = Subject::of(act.tx, &webhook).await? else { return Ok(false) };
        Ok(subject.permit(principal, &webhook.environments).is_ok())
    }

    fn secrets(&self) -> Vec<SecretId> {
        Vec::new()
    }

    fn take_values(&mut self) -> Vec<String> {
        self.object.signing_secret.take().into_iter().collect()
    }

    fn put_values(&mut self, values: Vec<String>) {
        self.object.signing_secret = values.into_iter().next();
    }
}

/// Returns a webhook as the API shows it.
pub(super) fn shown(webhook: &Webhook, now: crossfade_core::Timestamp) -> Versioned<api::Webhook> {
    let (disabled_at, disabled_as) = webhook.disabled.unzip();
    let object = api::Webhook {
        id: webhook.id.clone(),
        name: webhook.name.to_string(),
        url: webhook.url.clone(),
        property_id: webhook.property_id.clone(),
        client_id: webhook.client_id.clone(),
        environments: webhook.environments.iter().map(ToString::to_string).collect(),
        events: webhook.events.iter().map(|event| event.as_str().to_owned()).collect(),
        format: webhook.format,
        enabled: webhook.disabled.is_none(),
        disabled_at,
        disabled_as,
        failing_since: webhook.failing.map(|failing| failing.since),
        previous_secret_expires_at: webhook.previous_until.filter(|until| still_signs(Some(*until), now)),
        created_at: webhook.created_at,
        signing_secret: None,
    };
    Versioned::new(object, webhook.version)
}

/// Returns the facts of a webhook for the trail.
pub(super) fn facts(poster: &Poster, webhook: &Webhook) -> WebhookFacts {
    let digest: String = digest(&SHA256, webhook.url.as_bytes()).as_ref()[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    WebhookFacts {
        name: webhook.name.to_string(),
        origin: poster.destination(&webhook.url).map(|to| to.origin()).unwrap_or_default(),
        url_digest: digest,
        property_id: webhook.property_id.clone(),
        client_id: webhook.client_id.clone(),
        environments: webhook.environments.iter().map(ToString::to_string).collect(),
        events: webhook.events.iter().map(|event| event.as_str().to_owned()).collect(),
        format: webhook.format,
        enabled: webhook.disabled.is_none(),
    }
}

/// Returns the subject of an event about a webhook.
pub(super) fn about(webhook: &Webhook) -> About<'_> {
    About { client: webhook.client_id.as_ref(), target: Some(webhook.id.to_string()), ..About::default() }
}

/// Parses the environments of a webhook, each once.
async fn environments(tx: &mut Tx, list: &[String]) -> Result<Vec<Slug>, Error> {
    let known = tx.environments().await?;
    let is_known = |slug: &String| known.iter().any(|it| it.slug.as_str() == slug.as_str());
    if list.len() > MAX_ENVIRONMENTS || !list.iter().all(is_known) {
        let names: Vec<&str> = known.iter().map(|environment| environment.slug.as_str()).collect();
        let text = format!("must contain only {}", names.join(", "));
        return Err(Problem::invalid("environments", &text).into());
    }
    let chosen = known.into_iter().map(|it| it.slug).filter(|slug| list.iter().any(|it| it == slug.as_str()));
    Ok(chosen.collect())
}

/// Parses the kinds of events of a webhook, each once.
fn events(list: &[String]) -> Result<Vec<Action>, Problem> {
    if list.len() > MAX_EVENTS {
        return Err(Problem::invalid("events", &format!("must contain at most {MAX_EVENTS} entries")));
    }
    let mut events = Vec::new();
    for word in list {
        let kinds = crossfade_core::webhook::KINDS.iter().map(|kind| kind.as_str());
        let Some(kind) = parse_kind(word) else {
            let text = format!("must contain only {}", kinds.collect::<Vec<_>>().join(", "));
            return Err(Problem::invalid("events", &text));
        };
        if !events.contains(&kind) {
            events.push(kind);
        }
    }
    Ok(events)
}

/// Parses an integration key of PagerDuty.
fn routing_key(text: &str) -> Result<String, Problem> {
    let text = text.trim();
    if (1..=100).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Ok(text.to_owned());
    }
    Err(Problem::invalid(
        "routing_key",
        "must be the integration key of a PagerDuty service, letters and digits",
    ))
}

impl App {
    /// Returns the webhooks that the principal can manage, oldest first.
    pub async fn list_webhooks(
        &self,
        principal: &Principal,
        query: &ListQuery,
    ) -> Result<Page<api::Webhook>, Error> {
        let start = self.cursors.start("webhooks", query)?;
        self.view(Operation::ListWebhooks, principal, NewWebhook, async |tx, principal, ()| {
            let key = |row: &Webhook| (row.created_at.as_micros(), row.id.to_string());
            let mut scan = Scan::new(&start, false);
            while let Some(from) = scan.next() {
                let rows = tx.webhooks(&from).await?;
                scan.read(rows.len(), rows.last().map(key));
                manageable(tx, principal, rows).await?.into_iter().for_each(|row| scan.keep(row));
            }
            let (rows, next_cursor) = scan.rows(key)?;
            let now = self.clock.now();
            Ok(Page { items: rows.iter().map(|row| shown(row, now).object).collect(), next_cursor })
        })
        .await
    }

    /// Returns the number of webhooks that the principal can manage and that were disabled because of their receivers.
    pub async fn count_broken_webhooks(&self, principal: &Principal) -> Result<usize, Error> {
        if !principal.may_somewhere(MANAGE) {
            return Ok(0);
        }
        self.read(async |tx| {
            let principal = &principal.refreshed(tx, self.clock.now()).await?;
            let webhooks = tx.all_webhooks().await?.into_iter().flatten();
            let is_broken = |webhook: &Webhook| {
                webhook.disabled.is_some_and(|(_, reason)| reason != DisabledAs::Disabled)
            };
            Ok(manageable(tx, principal, webhooks.filter(is_broken).collect()).await?.len())
        })
        .await
    }

    /// Returns a webhook and its version.
    pub async fn read_webhook(
        &self,
        principal: &Principal,
        path: WebhookPath<'_>,
    ) -> Result<Versioned<api::Webhook>, Error> {
        self.view(Operation::ReadWebhook, principal, path, async |_, _, loaded: Loaded| {
            Ok(shown(&loaded.webhook, self.clock.now()))
        })
        .await
    }

    /// Creates a webhook. The reply has its signing secret.
    pub async fn create_webhook(
        &self,
        request: &Request<'_>,
        input: Input<'_, CreateWebhook>,
    ) -> Result<Versioned<api::Webhook>, Error> {
        self.change(Operation::CreateWebhook, request, NewWebhook, async |act, principal, ()| {
            act.matches_list()?;
            let body = input.read()?;
            let subject = subject_of_new(act, principal, &body).await?;
            let environments = environments(act.tx, &body.environments).await?;
            subject.permit(principal, &environments)?;
            let name = Name::parse("name", &body.name)?;
            let url = match (&body.url, body.format) {
                (Some(url), _) => self.url(url)?,
                (None, WebhookFormat::Pagerduty) => PAGERDUTY_URL.to_owned(),
                (None, _) => return Err(Problem::invalid("url", "is required").into()),
            };
            let routing_key = body.routing_key.as_deref().map(routing_key).transpose()?;
            check_routing_key(body.format, routing_key.is_some())?;
            let events = events(&body.events)?;
            subject.confirm(Some(&body.confirm_name))?;
            let (property_id, client_id) = match &subject {
                Subject::Platform => (None, None),
                Subject::Property(property) => (Some(property.id.clone()), None),
                Subject::Client(client) => (None, Some(client.id.clone())),
            };
            if act.tx.count_webhooks(property_id.as_ref(), client_id.as_ref()).await? >= MAX_WEBHOOKS {
                let field = match &subject {
                    Subject::Platform => "name",
                    Subject::Property(_) => "property_id",
                    Subject::Client(_) => "client_id",
                };
                let text = format!("must not get another webhook, because there are {MAX_WEBHOOKS}");
                return Err(Problem::invalid(field, &text).into());
            }
            let id = WebhookId::generate(self.random.as_ref());
            let secret = SigningSecret::generate(self.random.as_ref());
            let webhook = Webhook {
                name,
                url,
                property_id,
                client_id,
                environments,
                events,
                format: body.format,
                signing_secret: self.seal_of_webhook(&id, "signing", secret.bytes())?,
                previous_secret: None,
                previous_until: None,
                routing_key: match routing_key {
                    Some(key) => Some(self.seal_of_webhook(&id, "routing", key.as_bytes())?),
                    None => None,
                },
                created_at: act.now,
                created_by: principal.user().clone(),
                disabled: None,
                failing: None,
                version: 1,
                id,
            };
            act.tx.insert_webhook(&webhook).await?;
            // Also without mail, the place that sends is known from the first webhook on.
            self.may_send_from_here(act).await?;
            let event = Event::WebhookCreated { webhook: facts(&self.posting.poster, &webhook) };
            act.audit(&event, about(&webhook)).await?;
            let mut reply = shown(&webhook, act.now);
            reply.object.signing_secret = Some(secret.text());
            Ok(reply)
        })
        .await
    }

    /// Changes, disables or enables a webhook.
    pub async fn update_webhook(
        &self,
        request: &Request<'_>,
        path: WebhookPath<'_>,
        input: Input<'_, UpdateWebhook>,
    ) -> Result<Versioned<api::Webhook>, Error> {
        self.change(Operation::UpdateWebhook, request, path, async |act, principal, loaded: Loaded| {
            let Loaded { mut webhook, subject } = loaded;
            act.matches(webhook.version)?;
            let body = input.read()?;
            let before = facts(&self.posting.poster, &webhook);
            let mut is_wider = false;
            if let Some(name) = &body.name {
                webhook.name = Name::parse("name", name)?;
            }
            let url = body.url.as_deref().map(|url| self.url(url)).transpose()?;
            let is_moved = url.as_ref().is_some_and(|url| *url != webhook.url);
            if let Some(list) = &body.environments {
                let chosen = environments(act.tx, list).await?;
                subject.permit(principal, &chosen)?;
                // Its owners' messages are about every environment.
                if !chosen.is_empty() && act.tx.client_owned_by(&webhook.id).await?.is_some() {
                    let text = "The webhook is an owner of a client, and an owner gets messages about all environments. \
                        Nothing was changed. Remove it from the owners first.";
                    return Err(Problem::new(Code::InUse, text).with_field("environments").into());
                }
                is_wider |= widens(&webhook.environments, &chosen);
                webhook.environments = chosen;
            }
            if let Some(list) = &body.events {
                let chosen = events(list)?;
                is_wider |= widens(&webhook.events, &chosen);
                webhook.events = chosen;
            }
            let key = body.routing_key.as_deref().map(routing_key).transpose()?;
            if key.is_some() {
                check_routing_key(webhook.format, true)?;
            }
            let origin = |url: &str| self.posting.poster.destination(url).map(|to| to.origin()).ok();
            if let Some(url) = &url
                && webhook.format == WebhookFormat::Pagerduty
                && key.is_none()
                && origin(url) != origin(&webhook.url)
            {
                // The key can be replaced, but not read, so it is sent to no host that it was not given for.
                let what = "is required with the URL of another host";
                return Err(Problem::invalid("routing_key", what).into());
            }
            // More messages leave, or they go elsewhere: the name must be typed (rule 24).
            if is_moved || is_wider || key.is_some() {
                subject.confirm(body.confirm_name.as_deref())?;
            }
            if is_moved || key.is_some() {
                // What the earlier receiver answered says nothing of this one.
                webhook.failing = None;
            }
            webhook.url = url.unwrap_or(webhook.url);
            if let Some(key) = &key {
                webhook.routing_key = Some(self.seal_of_webhook(&webhook.id, "routing", key.as_bytes())?);
            }
            let mut abandoned_deliveries = 0;
            if body.enabled.is_some_and(|enabled| enabled == webhook.disabled.is_some()) {
                self.unless_many_switches(principal)?;
            }
            match (body.enabled, webhook.disabled) {
                (Some(true), Some(_)) => (webhook.disabled, webhook.failing) = (None, None),
                (Some(false), None) => {
                    webhook.disabled = Some((act.now, DisabledAs::Disabled));
                    abandoned_deliveries = act.tx.abandon_deliveries_of(&webhook.id, act.now).await?;
                }
                _ => {}
            }
            let after = facts(&self.posting.poster, &webhook);
            if after == before && !is_moved && key.is_none() {
                return Ok(shown(&webhook, act.now));
            }
            act.tx.update_webhook(&webhook).await?;
            let event = Event::WebhookUpdated {
                before,
                after,
                routing_key_replaced: key.is_some(),
                abandoned_deliveries,
            };
            act.audit(&event, about(&webhook)).await?;
            self.posting.end_pause(&webhook.id);
            webhook.version += 1;
            Ok(shown(&webhook, act.now))
        })
        .await
    }

    /// Deletes a webhook and its deliveries.
    pub async fn delete_webhook(
        &self,
        request: &Request<'_>,
        path: WebhookPath<'_>,
        deletion: Deletion<'_>,
    ) -> Result<(), Error> {
        self.change(Operation::DeleteWebhook, request, path, async |act, _, loaded: Loaded| {
            let webhook = loaded.webhook;
            act.matches(webhook.version)?;
            deletion.check("confirm_name", &[webhook.name.as_str()], "the name of the webhook")?;
            if act.tx.client_owned_by(&webhook.id).await?.is_some() {
                let text = "The webhook is an owner of a client. Nothing was changed. Remove it from the owners first.";
                return Err(Problem::new(Code::InUse, text).into());
            }
            act.tx.delete_webhook(&webhook.id).await?;
            let event = Event::WebhookDeleted { webhook: facts(&self.posting.poster, &webhook) };
            act.audit(&event, about(&webhook)).await
        })
        .await
    }

    /// Refuses a principal who has enabled and disabled too many webhooks at once.
    fn unless_many_switches(&self, principal: &Principal) -> Result<(), Problem> {
        if self.webhook_switches.admit(principal.user(), Instant::now()) {
            return Ok(());
        }
        let text = "Your account enables and disables webhooks too quickly. Nothing was changed. Try again in 30 seconds.";
        Err(Problem::new(Code::TooManyRequests, text).retry_after(30))
    }

    /// Parses a URL that deliveries can be sent to.
    fn url(&self, text: &str) -> Result<String, Problem> {
        let to = self.posting.poster.destination(text).map_err(|what| Problem::invalid("url", &what))?;
        if crossfade_core::secret::looks_like_secret(text) {
            return Err(Problem::invalid("url", "must not contain a client secret or an API token"));
        }
        Ok(to.as_str().to_owned())
    }

    pub(super) fn seal_of_webhook(
        &self,
        id: &WebhookId,
        secret: &'static str,
        value: &[u8],
    ) -> Result<Vec<u8>, Error> {
        self.vault.seal(&SealPlace::Webhook { id, secret }, value)
    }
}

/// Whether a choice includes more than the one before it. An empty one is everything.
fn widens<T: PartialEq>(before: &[T], after: &[T]) -> bool {
    !before.is_empty() && (after.is_empty() || after.iter().any(|one| !before.contains(one)))
}

/// Requires a routing key for PagerDuty, and refuses one elsewhere.
fn check_routing_key(format: WebhookFormat, is_set: bool) -> Result<(), Problem> {
    match (format, is_set) {
        (WebhookFormat::Pagerduty, false) => {
            Err(Problem::invalid("routing_key", "is required for the format pagerduty"))
        }
        (WebhookFormat::Pagerduty, true) | (_, false) => Ok(()),
        (_, true) => Err(Problem::invalid("routing_key", "must be omitted unless the format is pagerduty")),
    }
}

/// Returns what a new webhook gets messages about, if it exists and the principal can read it.
async fn subject_of_new(
    act: &mut Act<'_>,
    principal: &Principal,
    body: &CreateWebhook,
) -> Result<Subject, Error> {
    let read = Operation::ReadClient.access();
    match (&body.property_id, &body.client_id) {
        (Some(_), Some(_)) => {
            Err(Problem::invalid("client_id", "must be omitted when property_id is set").into())
        }
        (Some(property), None) => match PropertyPath(property.as_str()).load(act.tx, principal, read).await {
            Ok(property) => Ok(Subject::Property(property)),
            Err(error) if error.problem.code == Code::NotFound => {
                Err(Problem::invalid("property_id", "must be the id of a property that you can read").into())
            }
            Err(error) => Err(error),
        },
        (None, Some(client)) => match ClientPath(client.as_str()).load(act.tx, principal, read).await {
            Ok(client) => Ok(Subject::Client(client)),
            Err(error) if error.problem.code == Code::NotFound => {
                Err(Problem::invalid("client_id", "must be the id of a client that you can read").into())
            }
            Err(error) => Err(error),
        },
        (None, None) => Ok(Subject::Platform),
    }
}
