//! The issuer that an environment is in front of: setting it, and refusing what only Crossfade's own tokens have.

use crate::{
    app::App,
    error::Error,
    frame::{
        act::Act,
        principal::Principal,
        targets::{forbidden, forbidden_on},
    },
};
use crossfade_core::{
    Code, OauthClientId, Problem, Random, Timestamp,
    api::{UpdateEnvironment, UpdateRegistration},
    environment::Slug,
    roles::{Object, Permission},
    secret::looks_like_secret,
    upstream::{self, IssuerMode, UnregisteredClients, Upstream},
};
use crossfade_store::{ChangeKind, Client, Environment};
use std::collections::BTreeSet;

impl App {
    /// Returns the issuer that an environment is in front of after a change.
    pub(crate) async fn changed_upstream(
        &self,
        act: &mut Act<'_>,
        principal: &Principal,
        before: &Environment,
        body: &UpdateEnvironment,
    ) -> Result<Option<Upstream>, Error> {
        if body.issuer_mode.is_none() && body.upstream.is_none() {
            return Ok(before.upstream.clone());
        }
        if !principal.may(Permission::UpstreamManage, Object::Platform) {
            return Err(forbidden(Permission::UpstreamManage));
        }
        let mode = body.issuer_mode.unwrap_or(before.issuer_mode());
        let after = match (mode, &body.upstream) {
            (IssuerMode::Own, None) => None,
            (IssuerMode::Own, Some(_)) => {
                return Err(Problem::invalid("upstream", "must be omitted while issuer_mode is own").into());
            }
            (IssuerMode::Upstream, Some(upstream)) => Some(upstream.clone()),
            (IssuerMode::Upstream, None) if before.upstream.is_none() => {
                return Err(Problem::invalid("upstream", "is required with the issuer_mode upstream").into());
            }
            (IssuerMode::Upstream, None) => before.upstream.clone(),
        };
        if let Some(upstream) = &after {
            upstream.check(|url| self.posting.poster.destination(url).map(drop))?;
            let known = before.upstream.as_ref().map(Upstream::origins).unwrap_or_default();
            let origins = upstream.origins();
            let added: Vec<String> = origins.difference(&known).cloned().collect();
            if !added.is_empty() {
                confirm(&before.slug, body.confirm_environment_slug.as_deref(), &added)?;
            }
            if origins != known {
                // Also those that come back: a credential is not sent to them until it is confirmed again.
                let kept = origins.intersection(&known).cloned().collect();
                let limited = act.tx.keep_upstream_origins(&before.slug, &kept).await?;
                let changes: Vec<_> = limited.into_iter().map(ChangeKind::Registration).collect();
                act.all_changed(&changes).await?;
            }
        }
        if mode != before.issuer_mode() && act.tx.environment_has_registrations(&before.slug).await? {
            let text = "The issuer_mode cannot change, because clients are or were registered in this environment, and \
                their client_ids belong to the other mode. Nothing was changed. Create another environment.";
            return Err(Problem::new(Code::InUse, text).with_field("issuer_mode").into());
        }
        Ok(after)
    }

    /// Returns the `client_id` of a new registration: the given one in front of another issuer, and a generated one
    /// elsewhere.
    pub(crate) async fn new_client_id(
        &self,
        act: &mut Act<'_>,
        environment: &Environment,
        given: Option<&str>,
    ) -> Result<OauthClientId, Error> {
        match (environment.issuer_mode(), given) {
            (IssuerMode::Own, None) => Ok(OauthClientId::generate(self.random.as_ref() as &dyn Random)),
            (IssuerMode::Own, Some(_)) => {
                let what = format!(
                    "must be omitted, because Crossfade generates it in the environment {}",
                    environment.slug
                );
                Err(Problem::invalid("client_id", &what).into())
            }
            (IssuerMode::Upstream, None) => {
                let what = format!(
                    "is required in the environment {}: the client's id at the upstream issuer",
                    environment.slug
                );
                Err(Problem::invalid("client_id", &what).into())
            }
            (IssuerMode::Upstream, Some(text)) => {
                let id = OauthClientId::parse(text).ok().filter(|_| !looks_like_secret(text)).ok_or_else(
                    || {
                        let what = "must be 1 to 256 visible ASCII characters or spaces, and not a secret";
                        Problem::invalid("client_id", what)
                    },
                )?;
                if act.tx.client_id_was_given(&environment.slug, &id).await? {
                    let text = "This client_id is or was that of another client in this environment. Nothing was changed. Choose \
                        the client_id of another client of the upstream issuer.";
                    return Err(Problem::new(Code::NameTaken, text).with_field("client_id").into());
                }
                Ok(id)
            }
        }
    }
}

/// Requires the slug as confirmation for requests and credentials that go to another host (rule 24).
fn confirm(slug: &Slug, typed: Option<&str>, added: &[String]) -> Result<(), Problem> {
    if typed == Some(slug.as_str()) {
        return Ok(());
    }
    let text = format!(
        "With this change, the requests of {slug} go to {}. Nothing was changed. To continue, set \
        confirm_environment_slug to {slug}.",
        added.join(" and ")
    );
    Err(Problem::new(Code::ConfirmationMismatch, text).with_field("confirm_environment_slug"))
}

/// Returns what happens to requests of clients that are not registered in an environment after a change.
pub(crate) fn unregistered_clients(
    principal: &Principal,
    before: &Environment,
    after: &Environment,
    body: &UpdateEnvironment,
) -> Result<UnregisteredClients, Error> {
    let set = body.unregistered_clients;
    match (after.issuer_mode(), set) {
        // What a later issuer answers is decided again.
        (IssuerMode::Own, None) => Ok(UnregisteredClients::Refuse),
        (IssuerMode::Own, Some(_)) => {
            let what = "must be omitted while issuer_mode is own";
            Err(Problem::invalid("unregistered_clients", what).into())
        }
        (IssuerMode::Upstream, Some(set)) if set != before.unregistered_clients => {
            if !principal.may(Permission::UpstreamManage, Object::Platform) {
                return Err(forbidden(Permission::UpstreamManage));
            }
            Ok(set)
        }
        (IssuerMode::Upstream, _) => Ok(before.unregistered_clients),
    }
}

/// Returns until when registrations without a secret learn one in an environment after a change.
pub(crate) fn adopt_until(
    principal: &Principal,
    before: &Environment,
    after: &Environment,
    body: &UpdateEnvironment,
    now: Timestamp,
) -> Result<Option<Timestamp>, Error> {
    let set =
        body.adopt_until.as_ref().map(|set| set.as_deref().map(|text| upstream::adopt_until(text, now)));
    let set = set.map(Option::transpose).transpose()?;
    match (after.issuer_mode(), set) {
        // What a later issuer accepts is decided again.
        (IssuerMode::Own, None | Some(None)) => Ok(None),
        (IssuerMode::Own, Some(Some(_))) => {
            Err(Problem::invalid("adopt_until", "must be omitted while issuer_mode is own").into())
        }
        (IssuerMode::Upstream, Some(set)) if set != before.adopt_until => {
            if !principal.may(Permission::UpstreamManage, Object::Platform) {
                return Err(forbidden(Permission::UpstreamManage));
            }
            Ok(set)
        }
        (IssuerMode::Upstream, _) => Ok(before.adopt_until),
    }
}

/// Refuses a registration without a secret where none is learned, and by a principal who cannot rotate it.
pub(crate) fn check_adoption(
    principal: &Principal,
    client: &Client,
    environment: &Environment,
    now: Timestamp,
) -> Result<(), Error> {
    let object = Object::Registration(&client.property_id, &client.id, &environment.slug);
    if !principal.may(Permission::SecretRotate, object) {
        return Err(forbidden_on(Permission::SecretRotate, object));
    }
    if environment.upstream.is_none() || environment.adopt_until.is_none_or(|until| until <= now) {
        let what = format!(
            "requires that the adopt_until of the environment {} is ahead. Set it there first",
            environment.slug
        );
        return Err(Problem::invalid("adopt", &what).into());
    }
    Ok(())
}

/// Refuses a setting that only Crossfade's own tokens have.
pub(crate) fn own_only(environment: &Environment, field: &str) -> Result<(), Problem> {
    if environment.issuer_mode() == IssuerMode::Own {
        return Ok(());
    }
    let text = format!(
        "The upstream issuer of {} decides about {field}. Nothing was changed. Set it at the issuer, and omit it here.",
        environment.slug
    );
    Err(Problem::new(Code::NotInFrontMode, text).with_field(field))
}

/// Refuses the settings of a registration that only Crossfade's own tokens have.
pub(crate) fn own_settings_only(environment: &Environment, body: &UpdateRegistration) -> Result<(), Problem> {
    let set: BTreeSet<&str> = [
        ("scopes", body.scopes.is_some()),
        ("audience", body.audience.is_some()),
        ("access_token_ttl_seconds", body.access_token_ttl_seconds.is_some()),
        ("may_introspect", body.may_introspect.is_some()),
    ]
    .into_iter()
    .filter_map(|(field, is_set)| is_set.then_some(field))
    .collect();
    set.first().map_or(Ok(()), |field| own_only(environment, field))
}

/// Refuses to end tokens that another issuer has issued. Crossfade keeps none of them.
pub(crate) fn own_tokens_only(environment: &Environment, revoke_tokens: bool) -> Result<(), Problem> {
    if !revoke_tokens || environment.issuer_mode() == IssuerMode::Own {
        return Ok(());
    }
    let text = format!(
        "Crossfade does not keep the tokens that the upstream issuer of {} issues, so it cannot end them. Nothing was \
        changed. Omit revoke_tokens: the secret ends immediately and gets no further token. Revoke the tokens at the \
        issuer, or wait until they expire.",
        environment.slug
    );
    Err(Problem::new(Code::NotInFrontMode, text).with_field("revoke_tokens"))
}
