//! Registrations: a client in an environment, its settings, and its first secret.

use crate::{
    app::App,
    clients::client::version,
    error::Error,
    frame::{
        act::Act,
        entry::About,
        idempotency::Repeatable,
        principal::Principal,
        request::{Input, Request},
        targets::{ClientPath, RegistrationPath, Site, check_value, forbidden, forbidden_on},
        versioned::Versioned,
    },
    keys::place::SealPlace,
    registrations::networks,
    upstream::issuer::{check_adoption, own_settings_only},
    webhooks::owners::hearing_among,
};
use crossfade_authority::bound_name;
use crossfade_core::{
    Code, Operation, Problem, RegistrationId, SecretId, Timestamp,
    api::{self, CreateRegistration, Enforced, RevealedSecret, UpdateRegistration},
    audit::Event,
    drill::StoppedAs,
    environment::Slug,
    networks::Networks,
    owners::is_heard,
    registration::{Adoption, AuthMethods, Scopes, TokenTtl},
    roles::{Object, Permission},
    rotation::{SecretState, due_at},
    secret::{SecretKind, SecretOrigin, SecretValue},
    text::Reason,
};
use crossfade_store::{ChangeKind, Client, Environment, Registration, SecretRow};

impl Repeatable for Versioned<api::Registration> {
    fn secrets(&self) -> Vec<SecretId> {
        self.object.secret.iter().map(|secret| secret.id.clone()).collect()
    }

    fn take_values(&mut self) -> Vec<String> {
        self.object.secret.as_mut().and_then(|secret| secret.value.take()).into_iter().collect()
    }

    fn put_values(&mut self, values: Vec<String>) {
        if let (Some(secret), Some(value)) = (&mut self.object.secret, values.into_iter().next()) {
            secret.value = Some(value);
        }
    }

    fn set_enforced(&mut self, enforced: Enforced) {
        self.object.enforced = Some(enforced);
    }
}

/// Returns a registration as the API shows it.
pub(crate) fn shown_registration(
    app: &App,
    registration: &Registration,
    environment: &Environment,
) -> api::Registration {
    // An upstream issuer decides about its tokens.
    let is_own = environment.upstream.is_none();
    let audience = registration.audience.clone();
    api::Registration {
        id: registration.id.clone(),
        environment: registration.environment.to_string(),
        client_id: registration.oauth_client_id.clone(),
        enabled: registration.disabled_at.is_none(),
        token_endpoint_auth_methods: registration.methods.list(),
        scopes: is_own.then(|| registration.scopes.iter().map(str::to_owned).collect()),
        audience: is_own.then(|| audience.unwrap_or_else(|| app.issuer(&registration.environment))),
        access_token_ttl_seconds: is_own.then(|| registration.ttl.seconds()),
        may_introspect: is_own.then_some(registration.may_introspect),
        allowed_networks: registration.allowed_networks.as_ref().map(Networks::list),
        self_rotation: registration.self_rotation,
        created_at: registration.created_at,
        rotation_due_at: registration.current_since.and_then(|since| due_at(since, environment.max_age_days)),
        adoption: match (registration.current_since, registration.is_public) {
            (None, Some(false)) => Some(Adoption::Waiting),
            (None, Some(true)) => Some(Adoption::PublicClient),
            _ => None,
        },
        secret: None,
        enforced: None,
    }
}

/// A secret that was generated in a transaction and has not been delivered yet.
pub(crate) struct NewSecret {
    pub(crate) id: SecretId,
    pub(crate) value: SecretValue,
    pub(crate) created_at: Timestamp,
}

impl NewSecret {
    /// Returns the secret, with its value only for a principal who can see it.
    pub(crate) fn shown(&self, may_reveal: bool) -> RevealedSecret {
        RevealedSecret {
            id: self.id.clone(),
            state: SecretState::Current,
            value: may_reveal.then(|| self.value.reveal().to_owned()),
            created_at: self.created_at,
        }
    }
}

impl App {
    /// Generates and stores the next secret of a registration.
    pub(crate) async fn add_secret(
        &self,
        act: &mut Act<'_>,
        registration: &Registration,
        environment: &Environment,
    ) -> Result<NewSecret, Error> {
        let id = SecretId::generate(self.random.as_ref());
        let value = SecretValue::generate(SecretKind::Client(environment.kind), self.random.as_ref());
        let name = bound_name(environment.issuer_mode(), &registration.oauth_client_id, &registration.id);
        let (digest_key, digest) =
            self.authority.digest(name, value.reveal()).ok_or_else(|| Error::internal("no verifier key"))?;
        let value_digest = self.authority.value_digest(value.reveal());
        let value_digest = value_digest.ok_or_else(|| Error::internal("no verifier key"))?;
        let sealed = if environment.show_once {
            None
        } else {
            Some({
                let place = SealPlace::Secret { registration: &registration.id, secret: &id };
                self.vault.seal(&place, value.reveal().as_bytes())?
            })
        };
        let row = SecretRow {
            id: id.clone(),
            registration_id: registration.id.clone(),
            number: act.tx.newest_secret_number(&registration.id).await? + 1,
            created_at: act.now,
            digest: digest.to_vec(),
            value_digest: value_digest.to_vec(),
            digest_key,
            sealed,
            origin: SecretOrigin::Generated,
        };
        act.tx.insert_secret(&row).await?;
        Ok(NewSecret { id, value, created_at: act.now })
    }

    /// Registers a client in an environment. Returns the first secret if the principal can see it.
    pub(crate) async fn register(
        &self,
        act: &mut Act<'_>,
        principal: &Principal,
        client: &Client,
        environment: &Environment,
        (client_id, adopts): (Option<&str>, bool),
    ) -> Result<Option<RevealedSecret>, Error> {
        if adopts {
            check_adoption(principal, client, environment, act.now)?;
        }
        let registration = Registration {
            id: RegistrationId::generate(self.random.as_ref()),
            client_id: client.id.clone(),
            environment: environment.slug.clone(),
            oauth_client_id: self.new_client_id(act, environment, client_id).await?,
            methods: AuthMethods::default(),
            scopes: Scopes::default(),
            audience: None,
            ttl: TokenTtl::default(),
            may_introspect: false,
            allowed_networks: None,
            self_rotation: false,
            created_at: act.now,
            disabled_at: None,
            enabled_at: None,
            earlier_tokens_end_at: None,
            token_generation: 0,
            version: 1,
            current_since: (!adopts).then_some(act.now),
            is_public: adopts.then_some(false),
        };
        act.tx.insert_registration(&registration).await?;
        act.tx.delete_unregistered_client(&environment.slug, &registration.oauth_client_id).await?;
        let secret = match adopts {
            true => None,
            false => Some(self.add_secret(act, &registration, environment).await?),
        };
        if adopts {
            act.tx.insert_adoption(&registration.id, act.now).await?;
        }
        act.tx.append_widening(&[ChangeKind::Registration(registration.id.clone())]).await?;
        let object = Object::Registration(&client.property_id, &client.id, &environment.slug);
        let may_reveal = principal.may(Permission::SecretReveal, object);
        let about = About {
            client: Some(&client.id),
            environment: Some(&environment.slug),
            target: Some(registration.id.to_string()),
            ..About::default()
        };
        let event = Event::RegistrationCreated {
            oauth_client_id: registration.oauth_client_id,
            secret_id: secret.as_ref().map(|secret| secret.id.clone()),
            secret_shown: may_reveal && secret.is_some(),
        };
        act.audit(&event, about).await?;
        Ok(secret.filter(|_| may_reveal).map(|secret| secret.shown(true)))
    }

    /// Registers a client in a further environment.
    pub async fn create_registration(
        &self,
        request: &Request<'_>,
        path: ClientPath<'_>,
        input: Input<'_, CreateRegistration>,
    ) -> Result<Versioned<api::Registration>, Error> {
        self.change(Operation::CreateRegistration, request, path, async |act, principal, client: Client| {
            if let Ok(body) = input.clone().read()
                && let Ok(slug) = Slug::parse("environment", &body.environment)
            {
                let object = Object::Registration(&client.property_id, &client.id, &slug);
                check_value(principal, body.require_value, object)?;
            }
            let read = version(act.tx, principal, &client).await?;
            act.matches(read)?;
            let unknown = || Problem::invalid("environment", "must be the slug of an environment");
            let body = input.read()?;
            let slug = Slug::parse("environment", &body.environment)?;
            let environment = act.tx.environment(&slug).await?.ok_or_else(unknown)?;
            if act.tx.registration(&client.id, &slug).await?.is_some() {
                return Err(Problem::new(
                    Code::NameTaken,
                    "The client is already registered in this environment. Nothing was changed.",
                )
                .with_field("environment")
                .into());
            }
            let given = (body.client_id.as_deref(), body.adopt);
            let secret = self.register(act, principal, &client, &environment, given).await?;
            let stored = act
                .tx
                .registration(&client.id, &slug)
                .await?
                .ok_or_else(|| Error::internal("no registration"))?;
            let mut reply = shown_registration(self, &stored, &environment);
            reply.secret = secret;
            Ok(Versioned::new(reply, stored.version))
        })
        .await
    }

    /// Returns a registration and its version.
    pub async fn read_registration(
        &self,
        principal: &Principal,
        path: RegistrationPath<'_>,
    ) -> Result<Versioned<api::Registration>, Error> {
        self.view(Operation::ReadRegistration, principal, path, async |_, _, site: Site| {
            Ok(Versioned::new(
                shown_registration(self, &site.registration, &site.environment),
                site.registration.version,
            ))
        })
        .await
    }

    /// Changes the settings of a registration. Never changes its secrets.
    pub async fn update_registration(
        &self,
        request: &Request<'_>,
        path: RegistrationPath<'_>,
        input: Input<'_, UpdateRegistration>,
    ) -> Result<Versioned<api::Registration>, Error> {
        let locked_out = match input.clone().read() {
            Ok(body) => self.locked_out(request.principal, path, &body).await?,
            Err(_) => networks::Found::default(),
        };
        self.change(Operation::UpdateRegistration, request, path, async |act, principal, site: Site| {
            act.matches(site.registration.version)?;
            let body = input.read()?;
            let reason = Reason::parse(body.reason.as_deref())?;
            own_settings_only(&site.environment, &body)?;
            let mut after = site.registration.clone();
            if let Some(methods) = &body.token_endpoint_auth_methods {
                after.methods = AuthMethods::parse(methods)?;
            }
            if let Some(scopes) = &body.scopes {
                after.scopes = self.new_scopes(act, &site, scopes).await?;
            }
            if let Some(audience) = &body.audience {
                after.audience = self.new_audience(act, &site, audience.as_deref()).await?;
            }
            if let Some(seconds) = body.access_token_ttl_seconds {
                after.ttl = TokenTtl::parse(seconds)?;
                if after.ttl.seconds() < site.registration.ttl.seconds()
                    && !self.node.is_unused(act.tx, &site.registration).await?
                {
                    after.earlier_tokens_end_at =
                        after.earlier_tokens_end_at.max(Some(tokens_end(&site.registration, act.now)));
                }
            }
            if body.may_introspect == Some(true) && !site.registration.may_introspect {
                // It gives access to the tokens of every client of the environment, so managing this client is not
                // enough.
                if !principal.may(Permission::EnvironmentManage, Object::Platform) {
                    return Err(forbidden(Permission::EnvironmentManage));
                }
            }
            after.may_introspect = body.may_introspect.unwrap_or(after.may_introspect);
            if let Some(networks) = &body.allowed_networks {
                let parse = |list: &Vec<String>| Networks::parse("allowed_networks", list);
                after.allowed_networks = networks.as_ref().map(parse).transpose()?;
                if let Some(problem) = locked_out.refusal {
                    return Err(problem.into());
                }
            }
            if body.self_rotation == Some(true) && !site.registration.self_rotation {
                // Whoever cannot rotate gives nobody the permission to (rule 24).
                let object = site.object();
                if !principal.may(Permission::SecretRotate, object) {
                    return Err(forbidden_on(Permission::SecretRotate, object));
                }
                let hearing = hearing_among(act.tx, &site.client.owners).await?;
                if !is_heard(&site.client.owners, &hearing) {
                    let what = "must be false for a client without an owner that hears of each self-rotation: an email address, or \
                        an enabled webhook in another format than PagerDuty's. Set the owners of the client first";
                    return Err(Problem::invalid("self_rotation", what).into());
                }
            }
            after.self_rotation = body.self_rotation.unwrap_or(after.self_rotation);
            match body.enabled {
                // Callers depend on it: the name must be typed (rule 10).
                Some(false) => {
                    site.confirm(body.confirm_client_name.as_deref())?;
                    if after.disabled_at.is_none() {
                        after.disabled_at = Some(act.now);
                        // Its tokens end now, and no later change revives them (rule 14).
                        after.token_generation += 1;
                    }
                }
                Some(true) if after.disabled_at.is_some() => {
                    (after.disabled_at, after.enabled_at) = (None, Some(act.now));
                }
                Some(true) | None => {}
            }
            if after.disabled_at.is_some() && site.registration.disabled_at.is_none() {
                // Otherwise its windows would report that no caller is left.
                for secret in act.tx.open_secrets(&after.id, act.now).await? {
                    act.stop_drill_of(
                        self.random.as_ref(),
                        &secret.id,
                        StoppedAs::Disabled,
                        &site.client,
                        &site.environment.slug,
                    )
                    .await?;
                }
            }
            act.tx.update_registration(&after).await?;
            act.changed(ChangeKind::Registration(after.id.clone())).await?;
            let before_shown = shown_registration(self, &site.registration, &site.environment);
            let after_shown = shown_registration(self, &after, &site.environment);
            let changes_state = before_shown.enabled != after_shown.enabled
                || before_shown.self_rotation != after_shown.self_rotation;
            let event = Event::RegistrationUpdated {
                before: Box::new(before_shown.into()),
                after: Box::new(after_shown.clone().into()),
                locked_out_count: locked_out.count,
            };
            let about = About {
                client: Some(&site.client.id),
                environment: Some(&site.environment.slug),
                target: Some(after.id.to_string()),
                reason: Some(reason.as_str()),
            };
            act.audit(&event, about).await?;
            if changes_state {
                let slug = Some(&site.environment.slug);
                act.notify(self.random.as_ref(), &event, &site.client, slug, Some(reason.as_str())).await?;
            }
            Ok(Versioned::new(after_shown, after.version + 1))
        })
        .await
    }
}

/// Returns when the last token that this registration can have got by `now` expires, for resource servers that validate
/// offline.
pub(crate) fn tokens_end(registration: &Registration, now: Timestamp) -> Timestamp {
    registration.ttl.last_token_expires_at(registration.earlier_tokens_end_at, now)
}
