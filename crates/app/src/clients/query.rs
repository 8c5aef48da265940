//! The filter of a list of clients.

use crate::{
    app::App,
    frame::{
        cursor::{ListQuery, invalid},
        principal::Principal,
    },
};
use crossfade_core::{
    OauthClientId, Problem, PropertyId, Timestamp,
    environment::Slug,
    roles::{Object, Permission},
    rotation::{due_at, is_overdue},
    text::{Name, folded},
};
use crossfade_store::{Client, ClientFilter, Environment, Registration};

/// Maximum length of a search in characters; SQLite limits the length of a pattern.
const LONGEST_SEARCH: usize = 200;

/// Filter for a list of clients, as sent.
#[derive(Clone, Debug, Default)]
pub struct ClientQuery {
    /// Limit and cursor.
    pub list: ListQuery,
    /// Part of the name, or a complete OAuth `client_id`.
    pub q: Option<String>,
    /// A property's id.
    pub property_id: Option<String>,
    /// An environment's slug.
    pub environment: Option<String>,
    /// `true`: only clients with a secret older than its environment's maximum age.
    pub overdue: Option<String>,
    /// `true`: only clients without an owner.
    pub ownerless: Option<String>,
    /// `true`: only clients with a registration that has no secret yet.
    pub without_secret: Option<String>,
}

impl ClientQuery {
    pub(crate) fn filter(&self, app: &App) -> Result<ClientFilter, Problem> {
        let overdue = flag("overdue", self.overdue.as_deref())?.then(|| app.clock.now());
        if self.q.as_ref().is_some_and(|q| q.chars().count() > LONGEST_SEARCH) {
            return Err(invalid("q", "must be at most 200 characters long"));
        }
        let property = self.property_id.as_deref().map(PropertyId::parse).transpose();
        let environment =
            self.environment.as_deref().map(|text| Slug::parse("environment", text)).transpose();
        Ok(ClientFilter {
            q: self.q.as_deref().map(str::trim).filter(|q| !q.is_empty()).map(str::to_owned),
            property_id: property.map_err(|_| invalid("property_id", "must be the id of a property"))?,
            environment: environment
                .map_err(|_| invalid("environment", "must be the slug of an environment"))?,
            overdue_at: overdue,
            ownerless: flag("ownerless", self.ownerless.as_deref())?,
            without_secret: flag("without_secret", self.without_secret.as_deref())?,
            once: false,
        })
    }
}

/// Facts of a registration that a filter checks.
pub(crate) struct Facts<'a> {
    pub(crate) environment: &'a Slug,
    pub(crate) oauth_client_id: &'a OauthClientId,
    pub(crate) current_since: Option<Timestamp>,
}

/// Whether the filter still matches when only readable registrations count. Without this check, filtering would reveal
/// registrations that the principal cannot read.
pub(crate) fn is_found_in(
    filter: &ClientFilter,
    name: &Name,
    readable: &[Facts<'_>],
    environments: &[Environment],
) -> bool {
    let overdue = |it: &Facts<'_>, now: Timestamp| {
        let environment = environments.iter().find(|environment| environment.slug == *it.environment);
        let max_age = environment.and_then(|it| it.max_age_days);
        is_overdue(it.current_since.and_then(|since| due_at(since, max_age)), now)
    };
    let any = |asked: &dyn Fn(&Facts<'_>) -> bool| readable.iter().any(asked);
    let called = |q: &String| folded(name.as_str()).contains(&folded(q));
    filter.q.as_ref().is_none_or(|q| called(q) || any(&|it| it.oauth_client_id.as_str() == q))
        && filter.environment.as_ref().is_none_or(|slug| any(&|it| it.environment == slug))
        && filter.overdue_at.is_none_or(|now| any(&|it| overdue(it, now)))
        && (!filter.without_secret || any(&|it| it.current_since.is_none()))
}

/// Whether the filter matches a client in those of its registrations that the principal can read.
pub(super) fn is_found_by(
    principal: &Principal,
    filter: &ClientFilter,
    client: &Client,
    registrations: &[Registration],
    environments: &[Environment],
) -> bool {
    let is_about_registrations = filter.environment.is_some() || filter.overdue_at.is_some();
    if filter.q.is_none() && !is_about_registrations && !filter.without_secret {
        return true;
    }
    let readable = registrations.iter().filter(|it| {
        let object = Object::Registration(&client.property_id, &client.id, &it.environment);
        principal.may(Permission::ClientRead, object)
    });
    let facts = readable.map(|it| Facts {
        environment: &it.environment,
        oauth_client_id: &it.oauth_client_id,
        current_since: it.current_since,
    });
    is_found_in(filter, &client.name, &facts.collect::<Vec<_>>(), environments)
}

/// Reads a filter that is either set or not.
fn flag(name: &'static str, text: Option<&str>) -> Result<bool, Problem> {
    match text {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(invalid(name, "must be true or false")),
    }
}
