//! Entries of the audit trail: the author of an entry, and its subject.

use crossfade_core::{
    ClientId, OauthClientId, Timestamp,
    audit::{Actor, Event, Origin, Via},
    environment::Slug,
    upstream::IssuerMode,
};
use crossfade_store::{NewAuditEvent, Place};

/// Author of entries: the actor, the origin of its request, and the credential, command or policy it acts with.
#[derive(Clone, Debug)]
pub(crate) struct Author {
    pub(crate) actor: Actor,
    pub(crate) origin: Origin,
    pub(crate) via: Option<Via>,
}

impl From<Actor> for Author {
    fn from(actor: Actor) -> Self {
        Self { via: Via::of(&actor), actor, origin: Origin::default() }
    }
}

impl Author {
    /// Returns the author for failed authentications and revoked tokens: a known client or an unknown source. A given
    /// `client_id` can look like the ID of an account, and clients of other environments can have the same one.
    pub(crate) fn client(place: Option<&Place>) -> Self {
        let id = |place: &Place| match place.issuer_mode {
            IssuerMode::Own => place.oauth_client_id.clone(),
            IssuerMode::Upstream => OauthClientId::of_registration(&place.registration_id),
        };
        Self::from(match place {
            Some(place) => Actor::Client { id: id(place), name: place.name.to_string() },
            None => Actor::Unknown { id: String::new(), name: "unknown client".to_owned() },
        })
    }

    /// Sets the origin of the request.
    pub(crate) fn at(self, origin: &Origin) -> Self {
        Self { origin: origin.clone(), ..self }
    }

    /// Sets the credential.
    pub(crate) fn with(self, via: Via) -> Self {
        Self { via: Some(via), ..self }
    }

    /// Returns the entry for something that was refused to this author.
    pub(crate) fn refusal(&self, at: Timestamp, event: &Event, about: About<'_>) -> NewAuditEvent {
        NewAuditEvent { done: false, ..self.entry(at, event, about) }
    }

    /// Returns the entry for an event of this author.
    pub(crate) fn entry(&self, at: Timestamp, event: &Event, about: About<'_>) -> NewAuditEvent {
        NewAuditEvent {
            at,
            via: self.via.clone(),
            actor: self.actor.clone(),
            origin: self.origin.clone(),
            action: event.action(),
            done: true,
            client_id: about.client.cloned(),
            environment: about.environment.cloned(),
            target: about.target,
            reason: about.reason.filter(|reason| !reason.is_empty()).map(str::to_owned),
            details: event.details(),
        }
    }
}

/// Subject of an entry.
#[derive(Clone, Debug, Default)]
pub(crate) struct About<'a> {
    pub(crate) client: Option<&'a ClientId>,
    pub(crate) environment: Option<&'a Slug>,
    pub(crate) target: Option<String>,
    pub(crate) reason: Option<&'a str>,
}

impl<'a> About<'a> {
    /// Returns the subject for an object that belongs to no client.
    pub(crate) fn target(id: impl ToString) -> Self {
        Self { target: Some(id.to_string()), ..Self::default() }
    }

    /// Returns the subject for an environment.
    pub(crate) fn environment(slug: &'a Slug) -> Self {
        Self { environment: Some(slug), ..Self::default() }
    }

    /// Returns the subject for a client in an environment; `None` is an unknown client.
    pub(crate) fn place(place: Option<&'a Place>) -> Self {
        Self {
            client: place.map(|place| &place.client_id),
            environment: place.map(|place| &place.environment),
            ..Self::default()
        }
    }
}
