//! The limits of a property in an environment: reading, setting and checking them.

use crate::{
    app::App,
    error::Error,
    frame::{
        act::Act,
        entry::About,
        idempotency::Repeatable,
        principal::Principal,
        request::{Input, Request},
        targets::{PlacePath, PropertyPath, PropertyPlace, Site},
        versioned::Versioned,
    },
    upstream::issuer::own_only,
};
use crossfade_core::{
    Operation,
    api::{self, UpdateLimits},
    audit::Event,
    limits::Limits,
    registration::{self, Scopes},
    roles::{Object, Permission},
};
use crossfade_store::Property;

impl Repeatable for Versioned<api::Limits> {}

fn shown(limits: &Limits) -> api::Limits {
    let words = |scopes: &Scopes| scopes.iter().map(str::to_owned).collect();
    api::Limits { audiences: limits.audiences.clone(), scopes: limits.scopes.as_ref().map(words) }
}

impl App {
    /// Returns the limits of a property in an environment, and their version.
    pub async fn read_limits(
        &self,
        principal: &Principal,
        path: PlacePath<'_>,
    ) -> Result<Versioned<api::Limits>, Error> {
        self.view(Operation::ReadLimits, principal, path, async |tx, _, place: PropertyPlace| {
            let stored = tx.limits(&place.property.id, &place.environment.slug).await?;
            Ok(Versioned::new(shown(&stored.limits), stored.version))
        })
        .await
    }

    /// Returns the limits of a property in each environment in which the principal can read it, in the order of the
    /// environments.
    pub async fn list_limits(
        &self,
        principal: &Principal,
        path: PropertyPath<'_>,
    ) -> Result<Vec<(api::Environment, api::Limits)>, Error> {
        self.view(Operation::ReadProperty, principal, path, async |tx, principal, property: Property| {
            let mut environments = tx.environments().await?;
            environments
                .retain(|it| principal.may(Permission::ClientRead, Object::Place(&property.id, &it.slug)));
            let slugs: Vec<_> = environments.iter().map(|it| &it.slug).collect();
            let mut stored = tx.limits_in(&property.id, &slugs).await?;
            let limits: Vec<_> =
                slugs.iter().map(|slug| shown(&stored.remove(*slug).unwrap_or_default().limits)).collect();
            let environments = self.shown_environments(tx, &environments, self.clock.now()).await?;
            Ok(environments.into_iter().zip(limits).collect())
        })
        .await
    }

    /// Sets the limits of a property in an environment. Registrations keep their present audience and scopes.
    pub async fn update_limits(
        &self,
        request: &Request<'_>,
        path: PlacePath<'_>,
        input: Input<'_, UpdateLimits>,
    ) -> Result<Versioned<api::Limits>, Error> {
        self.change(Operation::UpdateLimits, request, path, async |act, _, place: PropertyPlace| {
            let (property, environment) = (&place.property.id, &place.environment.slug);
            let before = act.tx.limits(property, environment).await?;
            act.matches(before.version)?;
            let body = input.read()?;
            own_only(&place.environment, "audiences")?;
            let after = Limits::parse(&body.audiences, body.scopes.as_deref(), &self.public_url)?;
            act.tx.set_limits(property, environment, &after).await?;
            let event =
                Event::LimitsUpdated { before: shown(&before.limits).into(), after: shown(&after).into() };
            let about = About { target: Some(property.to_string()), ..About::environment(environment) };
            act.audit(&event, about).await?;
            Ok(Versioned::new(shown(&after), before.version + 1))
        })
        .await
    }

    /// Parses a new audience of a registration; `None` is the issuer. Its present audience is always allowed.
    pub(crate) async fn new_audience(
        &self,
        act: &mut Act<'_>,
        site: &Site,
        audience: Option<&str>,
    ) -> Result<Option<String>, Error> {
        let Some(text) = audience else { return Ok(None) };
        let audience = registration::audience(text)?;
        let issuer = self.issuer(&site.environment.slug);
        if site.registration.audience.as_deref() == Some(&*audience) {
            return Ok(Some(audience));
        }
        let stored = act.tx.limits(&site.client.property_id, &site.environment.slug).await?;
        stored.limits.check_audience(&audience, &issuer, &self.public_url)?;
        Ok((audience != issuer).then_some(audience))
    }

    /// Parses new scopes of a registration. Its present scopes are always allowed.
    pub(crate) async fn new_scopes(
        &self,
        act: &mut Act<'_>,
        site: &Site,
        scopes: &[String],
    ) -> Result<Scopes, Error> {
        let scopes = Scopes::parse(scopes)?;
        if scopes != site.registration.scopes {
            let stored = act.tx.limits(&site.client.property_id, &site.environment.slug).await?;
            stored.limits.check_scopes(&scopes)?;
        }
        Ok(scopes)
    }
}
