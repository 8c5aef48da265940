//! What a webhook gets messages about, and who manages the webhooks of that.

use crate::{
    error::Error,
    frame::{
        principal::Principal,
        targets::{Names, Target, forbidden, forbidden_because, forbidden_on},
    },
};
use crossfade_core::{
    ClientId, Code, Problem, PropertyId, WebhookId,
    environment::Slug,
    operations::Access,
    roles::{Grant, Object, Permission},
    text::Name,
};
use crossfade_store::{Client, Property, Tx, Webhook};
use std::collections::HashMap;

/// Permission for everything about webhooks.
pub(super) const MANAGE: Permission = Permission::WebhookManage;
/// What confirms a webhook of the platform.
const PLATFORM: &str = "platform";

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
    fn name(&self) -> Option<&Name> {
        match self {
            Self::Platform => None,
            Self::Property(property) => Some(&property.name),
            Self::Client(client) => Some(&client.name),
        }
    }

    /// Returns its name, if the principal can read the client or property.
    pub(super) fn name_for(&self, principal: &Principal) -> Option<&Name> {
        let object = match self {
            Self::Platform => return None,
            Self::Property(property) => Object::Property(&property.id),
            Self::Client(client) => Object::Client(&client.property_id, &client.id),
        };
        self.name().filter(|_| principal.may(Permission::ClientRead, object))
    }

    /// Requires its name, because messages are redirected (rule 24).
    pub(super) fn confirm(&self, typed: Option<&str>) -> Result<(), Problem> {
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
    pub(super) fn permit(&self, principal: &Principal, environments: &[Slug]) -> Result<(), Error> {
        self.ids().permit(principal, environments)
    }

    /// Loads what a webhook gets messages about; `None` if it has been deleted.
    pub(super) async fn of(tx: &mut Tx, webhook: &Webhook) -> Result<Option<Self>, Error> {
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
pub(super) async fn manageable(
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

/// Returns the names of the clients and properties of webhooks, by their ids, as far as the principal can read them. Takes
/// a number of statements that does not grow with the webhooks.
pub(super) async fn names_of<'a>(
    tx: &mut Tx,
    principal: &Principal,
    webhooks: impl Iterator<Item = &'a Webhook> + Clone,
) -> Result<HashMap<String, Name>, Error> {
    let clients: Vec<ClientId> = webhooks.clone().filter_map(|webhook| webhook.client_id.clone()).collect();
    let properties: Vec<PropertyId> = webhooks.filter_map(|webhook| webhook.property_id.clone()).collect();
    let read = Permission::ClientRead;
    let mut names = HashMap::new();
    if !clients.is_empty() {
        for (id, (name, property)) in tx.client_names(&clients).await? {
            if principal.may(read, Object::Client(&property, &id)) {
                names.insert(id.to_string(), name);
            }
        }
    }
    if !properties.is_empty() {
        for (id, name) in tx.property_names(&properties).await? {
            if principal.may(read, Object::Property(&id)) {
                names.insert(id.to_string(), name);
            }
        }
    }
    Ok(names)
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
pub(super) struct NewWebhook;

impl Target for NewWebhook {
    type Loaded = ();

    async fn load(&self, _: &mut Tx, principal: &Principal, _: Access) -> Result<(), Error> {
        if principal.may_somewhere(MANAGE) { Ok(()) } else { Err(forbidden(MANAGE)) }
    }
}
