//! Environments and their signing keys.

use crate::{
    app::App,
    error::Error,
    frame::{
        act::Act,
        entry::About,
        idempotency::Repeatable,
        principal::Principal,
        request::{Deletion, Input, Request},
        targets::{EnvironmentPath, Platform},
        versioned::Versioned,
    },
    keys::{place::SealPlace, seal::Vault},
    upstream::issuer::{adopt_until, own_only, unregistered_clients},
};
use crossfade_authority::SigningKey as PrivateKey;
use crossfade_core::{
    Code, Operation, Problem, Timestamp,
    api::{self, CreateEnvironment, RotateSigningKey, UpdateEnvironment},
    audit::Event,
    environment::{
        DEFAULT_MAX_AGE_DAYS, DEFAULT_WIPE_AFTER_DAYS, EnvironmentKind, SigningAlg, Slug, age_days,
        retention_days, signing_key_days,
    },
    guard,
    rotation::wiped_if_ended_by,
    signing_key::{self, KeyTimes},
    text::{Name, Reason},
    upstream::UnregisteredClients,
};
use crossfade_store::{ChangeKind, Environment, SigningKey, Tx};

impl Repeatable for Versioned<api::Environment> {}
impl Repeatable for Vec<api::SigningKey> {}

/// An environment with the default settings.
pub(crate) fn new_environment(
    slug: Slug,
    name: &str,
    kind: EnvironmentKind,
    position: usize,
    now: Timestamp,
) -> Environment {
    Environment {
        slug,
        name: name.to_owned(),
        kind,
        position: position as i64,
        signing_alg: SigningAlg::ES256,
        show_once: false,
        wipe_after_days: DEFAULT_WIPE_AFTER_DAYS.into(),
        max_age_days: Some(DEFAULT_MAX_AGE_DAYS.into()),
        guard_extension_hours: None,
        signing_key_rotation_days: None,
        upstream: None,
        unregistered_clients: UnregisteredClients::Refuse,
        adopt_until: None,
        created_at: now,
        version: 1,
    }
}

impl App {
    pub(crate) async fn shown_environment(
        &self,
        tx: &mut Tx,
        environment: &Environment,
        now: Timestamp,
    ) -> Result<api::Environment, Error> {
        let keys = tx.signing_keys(&environment.slug).await?;
        Ok(self.shown_with_keys(environment, &keys, now))
    }

    /// Returns environments, with a fixed number of reads.
    pub(crate) async fn shown_environments(
        &self,
        tx: &mut Tx,
        environments: &[Environment],
        now: Timestamp,
    ) -> Result<Vec<api::Environment>, Error> {
        let slugs: Vec<_> = environments.iter().map(|it| &it.slug).collect();
        let keys = tx.signing_keys_of(&slugs).await?;
        Ok(environments.iter().map(|environment| self.shown_with_keys(environment, &keys, now)).collect())
    }

    fn shown_with_keys(
        &self,
        environment: &Environment,
        keys: &[SigningKey],
        now: Timestamp,
    ) -> api::Environment {
        let keys = keys.iter().filter(|key| key.environment == environment.slug);
        let keys: Vec<_> = keys.map(|key| (key.alg, key.times)).collect();
        let days = |days: i64| u16::try_from(days).unwrap_or(u16::MAX);
        let is_own = environment.upstream.is_none();
        api::Environment {
            slug: environment.slug.to_string(),
            name: environment.name.clone(),
            kind: environment.kind,
            issuer: self.issuer(&environment.slug),
            issuer_mode: environment.issuer_mode(),
            upstream: environment.upstream.clone(),
            unregistered_clients: (!is_own).then_some(environment.unregistered_clients),
            adopt_until: environment.adopt_until,
            signing_alg: is_own.then_some(environment.signing_alg),
            signing_alg_from: is_own
                .then(|| signing_key::signs_from(environment.signing_alg, &keys, now))
                .flatten(),
            show_once: environment.show_once,
            wipe_after_days: days(environment.wipe_after_days),
            max_age_days: environment.max_age_days.map(days),
            guard_extension_hours: environment
                .guard_extension_hours
                .map(|hours| u16::try_from(hours).unwrap_or(u16::MAX)),
            signing_key_rotation_days: environment.signing_key_rotation_days.map(days),
        }
    }

    /// Returns all environments in their order. Every known principal can read them.
    pub async fn list_environments(&self, principal: &Principal) -> Result<Vec<api::Environment>, Error> {
        self.view(Operation::ListEnvironments, principal, Platform, async |tx, _, ()| {
            self.all_environments(tx).await
        })
        .await
    }

    /// Returns all environments, within a read.
    pub(crate) async fn all_environments(&self, tx: &mut Tx) -> Result<Vec<api::Environment>, Error> {
        let environments = tx.environments().await?;
        self.shown_environments(tx, &environments, self.clock.now()).await
    }

    /// Returns an environment and its version.
    pub async fn read_environment(
        &self,
        principal: &Principal,
        path: EnvironmentPath<'_>,
    ) -> Result<Versioned<api::Environment>, Error> {
        self.view(Operation::ReadEnvironment, principal, path, async |tx, _, environment| {
            let shown = self.shown_environment(tx, &environment, self.clock.now()).await?;
            Ok(Versioned::new(shown, environment.version))
        })
        .await
    }

    /// Creates an environment at the end of the list.
    pub async fn create_environment(
        &self,
        request: &Request<'_>,
        input: Input<'_, CreateEnvironment>,
    ) -> Result<Versioned<api::Environment>, Error> {
        self.change(Operation::CreateEnvironment, request, Platform, async |act, _, ()| {
            act.matches_list()?;
            let body = input.read()?;
            let slug = Slug::parse("slug", &body.slug)?;
            let name = Name::parse("name", &body.name)?;
            if act.tx.environment(&slug).await?.is_some() {
                return Err(Problem::new(
                    Code::NameTaken,
                    "An environment with this slug already exists. Nothing was changed. Choose another slug.",
                )
                .with_field("slug")
                .into());
            }
            let position = act.tx.environments().await?.len();
            let mut environment = new_environment(slug, name.as_str(), body.kind, position, act.now);
            environment.signing_alg = body.signing_alg.unwrap_or(environment.signing_alg);
            self.add_environment(act, &environment).await?;
            let event = Event::EnvironmentCreated {
                name: environment.name.clone(),
                kind: environment.kind,
                signing_alg: environment.signing_alg,
            };
            act.audit(&event, About::environment(&environment.slug)).await?;
            Ok(Versioned::new(
                self.shown_environment(act.tx, &environment, act.now).await?,
                environment.version,
            ))
        })
        .await
    }

    /// Stores an environment with its first signing key, which signs immediately because no other key set is cached.
    pub(crate) async fn add_environment(
        &self,
        act: &mut Act<'_>,
        environment: &Environment,
    ) -> Result<(), Error> {
        act.tx.insert_environment(environment).await?;
        add_signing_key(act, &self.vault, environment, act.now).await?;
        act.changed(ChangeKind::Environment(environment.slug.clone())).await
    }

    /// Changes the settings of an environment.
    pub async fn update_environment(
        &self,
        request: &Request<'_>,
        path: EnvironmentPath<'_>,
        input: Input<'_, UpdateEnvironment>,
    ) -> Result<Versioned<api::Environment>, Error> {
        self.change(
            Operation::UpdateEnvironment,
            request,
            path,
            async |act, principal, before: Environment| {
                act.matches(before.version)?;
                let body = input.read()?;
                let mut after = before.clone();
                after.upstream = self.changed_upstream(act, principal, &before, &body).await?;
                after.unregistered_clients = unregistered_clients(principal, &before, &after, &body)?;
                after.adopt_until = adopt_until(principal, &before, &after, &body, act.now)?;
                if let Some(name) = &body.name {
                    after.name = Name::parse("name", name)?.to_string();
                }
                after.kind = body.kind.unwrap_or(before.kind);
                after.signing_alg = body.signing_alg.unwrap_or(before.signing_alg);
                after.show_once = body.show_once.unwrap_or(before.show_once);
                if let Some(days) = body.wipe_after_days {
                    after.wipe_after_days = retention_days(days)?;
                }
                if let Some(days) = body.max_age_days {
                    after.max_age_days = days.map(age_days).transpose()?;
                }
                for (field, is_set) in [
                    ("signing_alg", body.signing_alg.is_some()),
                    ("signing_key_rotation_days", body.signing_key_rotation_days.is_some()),
                ] {
                    if is_set {
                        own_only(&after, field)?;
                    }
                }
                if after.upstream.is_some() {
                    // Nothing signs here, so that no schedule is shown or followed.
                    after.signing_key_rotation_days = None;
                }
                if let Some(hours) = body.guard_extension_hours {
                    after.guard_extension_hours = hours.map(guard::extension_hours).transpose()?;
                }
                if let Some(days) = body.signing_key_rotation_days {
                    after.signing_key_rotation_days = days.map(signing_key_days).transpose()?;
                }
                let position = body.position.map(position_in).transpose()?;
                let destroyed_values = destroyed_values(act.tx, &before, &after, act.now).await?;
                if destroyed_values > 0 {
                    confirm(&before.slug, body.confirm_environment_slug.as_deref(), destroyed_values)?;
                }
                let shown_before = self.shown_environment(act.tx, &before, act.now).await?;
                act.tx.update_environment(&after).await?;
                if after.upstream.is_none() {
                    act.tx.delete_unregistered_clients(&after.slug).await?;
                }
                if let Some(position) = position {
                    reorder(act, &after.slug, position).await?;
                }
                if after.show_once && !before.show_once {
                    act.tx.wipe_environment(&after.slug).await?;
                }
                if after.signing_alg != before.signing_alg {
                    self.replace_signing_key(act, &after, false, false).await?;
                }
                act.changed(ChangeKind::Environment(after.slug.clone())).await?;
                let shown = self.shown_environment(act.tx, &after, act.now).await?;
                let event = Event::EnvironmentUpdated {
                    before: Box::new(shown_before.into()),
                    after: Box::new(shown.clone().into()),
                    position: position.map(|position| position as u64),
                    destroyed_values,
                };
                act.audit(&event, About::environment(&after.slug)).await?;
                Ok(Versioned::new(shown, after.version + 1))
            },
        )
        .await
    }

    /// Counts the values that an environment stores now, for a principal with permission to change it.
    pub async fn stored_values(
        &self,
        principal: &Principal,
        path: EnvironmentPath<'_>,
    ) -> Result<u64, Error> {
        self.view(Operation::ReadEnvironment, principal, path, async |tx, _, environment: Environment| {
            Ok(tx.stored_values(&environment.slug, None).await?)
        })
        .await
    }

    /// Deletes an environment that never had a registration.
    pub async fn delete_environment(
        &self,
        request: &Request<'_>,
        path: EnvironmentPath<'_>,
        deletion: Deletion<'_>,
    ) -> Result<(), Error> {
        self.change(Operation::DeleteEnvironment, request, path, async |act, _, environment: Environment| {
            act.matches(environment.version)?;
            let names = [environment.slug.as_str(), environment.name.as_str()];
            deletion.check("confirm_environment", &names, "the environment's slug or name")?;
            if act.tx.environment_has_registrations(&environment.slug).await? {
                return Err(Problem::new(
                    Code::InUse,
                    "The environment cannot be deleted because clients are or were registered in it. Nothing \
                    was changed.",
                )
                .into());
            }
            // A later environment of the same slug must not come into rights that were given for this one.
            if act.tx.environment_has_grants(&environment.slug).await? {
                return Err(Problem::new(
                    Code::InUse,
                    "Some grants are limited to this environment. Nothing was changed. Delete those grants \
                    first.",
                )
                .into());
            }
            if act.tx.environment_has_webhooks(&environment.slug).await? {
                return Err(Problem::new(
                    Code::InUse,
                    "Some webhooks are limited to this environment. Nothing was changed. Change or delete those webhooks \
                    first.",
                )
                .into());
            }
            act.tx.delete_limits_of_environment(&environment.slug).await?;
            act.tx.delete_environment(&environment.slug).await?;
            act.changed(ChangeKind::Environment(environment.slug.clone())).await?;
            let event = Event::EnvironmentDeleted { name: environment.name.clone() };
            act.audit(&event, About::environment(&environment.slug)).await
        })
        .await
    }

    /// Returns the signing keys of an environment, in the order in which they become active.
    pub async fn list_signing_keys(
        &self,
        principal: &Principal,
        path: EnvironmentPath<'_>,
    ) -> Result<Vec<api::SigningKey>, Error> {
        self.view(Operation::ListSigningKeys, principal, path, async |tx, _, environment: Environment| {
            if environment.upstream.is_some() {
                return Ok(Vec::new());
            }
            shown_keys(tx, &environment.slug, self.clock.now()).await
        })
        .await
    }

    /// Creates a new signing key for an environment. It is published now and signs once every cached key set has
    /// expired. The old key stays published until its last token has expired, unless it has leaked.
    pub async fn rotate_signing_key(
        &self,
        request: &Request<'_>,
        path: EnvironmentPath<'_>,
        input: Input<'_, RotateSigningKey>,
    ) -> Result<Vec<api::SigningKey>, Error> {
        self.change(Operation::RotateSigningKey, request, path, async |act, _, environment: Environment| {
            act.matches(environment.version)?;
            let body = input.read()?;
            own_only(&environment, "signing keys")?;
            let reason = Reason::parse(body.reason.as_deref())?;
            self.replace_signing_key(act, &environment, body.immediate, body.compromised).await?;
            act.changed(ChangeKind::Environment(environment.slug.clone())).await?;
            let event = Event::SigningKeyRotated {
                alg: environment.signing_alg,
                immediate: body.immediate,
                compromised: body.compromised,
            };
            let about = About { reason: Some(reason.as_str()), ..About::environment(&environment.slug) };
            act.audit(&event, about).await?;
            shown_keys(act.tx, &environment.slug, act.now).await
        })
        .await
    }

    /// Creates a signing key, and says when the others leave the key set.
    pub(crate) async fn replace_signing_key(
        &self,
        act: &mut Act<'_>,
        environment: &Environment,
        immediate: bool,
        compromised: bool,
    ) -> Result<(), Error> {
        let active_from = signing_key::activation(act.now, immediate || compromised);
        for old in act.tx.signing_keys(&environment.slug).await? {
            let removal = match compromised {
                // Anyone who has the key can create tokens, so nothing that it signs is valid from now on.
                true => act.now,
                false => signing_key::removal(old.times, active_from, act.now),
            };
            let earlier = old.times.removed_at.is_none_or(|removed_at| removal < removed_at);
            if old.times.is_published(act.now) && earlier {
                act.tx.remove_signing_key_at(&old.kid, removal).await?;
            }
        }
        add_signing_key(act, &self.vault, environment, active_from).await
    }
}

/// Creates a signing key of an environment.
pub(crate) async fn add_signing_key(
    act: &mut Act<'_>,
    vault: &Vault,
    environment: &Environment,
    active_from: Timestamp,
) -> Result<(), Error> {
    let (slug, alg) = (&environment.slug, environment.signing_alg);
    let private = PrivateKey::generate(alg).map_err(Error::internal)?;
    let times = KeyTimes { active_from, removed_at: None };
    let parsed = PrivateKey::parse(alg, &private, times).map_err(Error::internal)?;
    let place = SealPlace::SigningKey { environment: slug, kid: parsed.kid() };
    let sealed = vault.seal(&place, &private)?;
    let key = SigningKey { kid: parsed.kid().to_owned(), environment: slug.clone(), alg, sealed, times };
    Ok(act.tx.insert_signing_key(&key, act.now).await?)
}

/// Counts the stored values that these settings destroy, immediately or in the next sweep.
async fn destroyed_values(
    tx: &mut Tx,
    before: &Environment,
    after: &Environment,
    now: Timestamp,
) -> Result<u64, Error> {
    if after.show_once && !before.show_once {
        return Ok(tx.stored_values(&after.slug, None).await?);
    }
    if after.wipe_after_days >= before.wipe_after_days {
        return Ok(0);
    }
    Ok(tx.stored_values(&after.slug, Some(wiped_if_ended_by(after.wipe_after_days, now))).await?)
}

/// Requires the slug as confirmation for destroying stored values (rule 24).
fn confirm(slug: &Slug, typed: Option<&str>, values: u64) -> Result<(), Problem> {
    if typed == Some(slug.as_str()) {
        return Ok(());
    }
    let values_text = if values == 1 { "value" } else { "values" };
    let text = format!(
        "This change permanently destroys {values} stored {values_text} of {slug}. Nothing was changed. To \
        continue, set confirm_environment_slug to {slug}."
    );
    Err(Problem::new(Code::ConfirmationMismatch, text)
        .with_field("confirm_environment_slug")
        .with("stored_values", values))
}

/// Returns the keys that are or will be published. A key that has left the key set will soon be deleted.
async fn shown_keys(tx: &mut Tx, slug: &Slug, now: Timestamp) -> Result<Vec<api::SigningKey>, Error> {
    let shown = |key: SigningKey| api::SigningKey {
        kid: key.kid,
        alg: key.alg,
        active_from: key.times.active_from,
        removed_at: key.times.removed_at,
    };
    let keys = tx.signing_keys(slug).await?.into_iter();
    Ok(keys.filter(|key| key.times.is_published(now)).map(shown).collect())
}

fn position_in(position: i64) -> Result<usize, Problem> {
    usize::try_from(position)
        .map_err(|_| Problem::invalid("position", "must be a position in the list, starting at 0"))
}

async fn reorder(act: &mut Act<'_>, slug: &Slug, position: usize) -> Result<(), Error> {
    let mut order: Vec<Slug> = act
        .tx
        .environments()
        .await?
        .into_iter()
        .map(|other| other.slug)
        .filter(|other| other != slug)
        .collect();
    order.insert(position.min(order.len()), slug.clone());
    Ok(act.tx.order_environments(&order).await?)
}
