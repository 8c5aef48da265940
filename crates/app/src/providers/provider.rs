//! Providers: list, create, read, change, delete.

use super::fields::{check_secret, client_id, client_secret, domains, group_grants, scopes, word, words};
use crate::{
    app::App,
    error::Error,
    frame::{
        act::Act,
        cursor::{ListQuery, page},
        entry::About,
        idempotency::Repeatable,
        principal::Principal,
        request::{Deletion, Input, Request},
        targets::{Names, Platform, Target, check},
        versioned::Versioned,
    },
};
use crossfade_core::{
    Code, Operation, Problem, ProviderId,
    api::{self, CreateProvider, Page, UpdateProvider},
    audit::{Event, ProviderFacts},
    operations::Access,
    provider::{
        ClientAuthentication, DEFAULT_EXTERNAL_ID_CLAIM, DEFAULT_GROUPS_CLAIM, DEFAULT_SCOPES, GroupsFrom,
        MAX_PROVIDERS,
    },
    roles::{Object, Permission},
    text::{Name, folded},
};
use crossfade_store::{Provider, Tx};

/// A provider by its ID, as sent.
#[derive(Clone, Copy, Debug)]
pub struct ProviderPath<'a>(pub &'a str);

impl Target for ProviderPath<'_> {
    type Loaded = Provider;

    async fn load(&self, tx: &mut Tx, principal: &Principal, access: Access) -> Result<Provider, Error> {
        let id = ProviderId::parse(self.0).map_err(|_| Problem::not_found())?;
        check(principal, access, Permission::ProviderManage, Object::Platform)?;
        tx.provider(&id).await?.ok_or_else(|| Problem::not_found().into())
    }

    fn names(&self) -> Names {
        Names { target: ProviderId::parse(self.0).ok().map(String::from), ..Names::default() }
    }
}

impl Repeatable for Versioned<api::Provider> {}

/// A provider on the sign-in page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OfferedProvider {
    /// ID.
    pub id: ProviderId,
    /// Name.
    pub name: String,
}

impl App {
    /// Returns the providers, oldest first.
    pub async fn list_providers(
        &self,
        principal: &Principal,
        query: &ListQuery,
    ) -> Result<Page<api::Provider>, Error> {
        let start = self.cursors.start("providers", query)?;
        self.view(Operation::ListProviders, principal, Platform, async |tx, _, ()| {
            let rows = tx.providers(&start).await?;
            let key = |row: &Provider| (row.created_at.as_micros(), row.id.to_string());
            page(&start, rows, key, |row| self.shown_provider(&row))
        })
        .await
    }

    /// Returns a provider and its version.
    pub async fn read_provider(
        &self,
        principal: &Principal,
        path: ProviderPath<'_>,
    ) -> Result<Versioned<api::Provider>, Error> {
        self.view(Operation::ReadProvider, principal, path, async |_, _, provider| {
            Ok(Versioned::new(self.shown_provider(&provider), provider.version))
        })
        .await
    }

    /// Returns the providers that anybody can sign in with, oldest first.
    pub async fn offered_providers(&self) -> Result<Vec<OfferedProvider>, Error> {
        let all = self.look_up_for(None, async |tx| Ok(tx.enabled_providers().await?)).await?;
        Ok(all.into_iter().map(|it| OfferedProvider { id: it.id, name: it.name.to_string() }).collect())
    }

    /// Creates a provider.
    pub async fn create_provider(
        &self,
        request: &Request<'_>,
        input: Input<'_, CreateProvider>,
    ) -> Result<Versioned<api::Provider>, Error> {
        self.change(Operation::CreateProvider, request, Platform, async |act, principal, ()| {
            act.matches_list()?;
            let body = input.read()?;
            let name = Name::parse("name", &body.name)?;
            let id = ProviderId::generate(self.random.as_ref());
            free_name(act, &id, &name).await?;
            let secret = body.client_secret.as_deref().map(client_secret).transpose()?;
            check_secret(body.client_authentication, secret.is_some())?;
            let default_scopes = || DEFAULT_SCOPES.map(str::to_owned).to_vec();
            let provider = Provider {
                name,
                issuer: self.issuer_of_provider(&body.issuer)?,
                client_id: client_id(&body.client_id)?,
                client_secret: match &secret {
                    Some(secret) => Some(self.seal_of_provider(&id, secret)?),
                    None => None,
                },
                client_authentication: body.client_authentication,
                scopes: body.scopes.as_deref().map_or_else(|| Ok(default_scopes()), scopes)?,
                domains: domains(&body.domains)?,
                groups_claim: word(
                    "groups_claim",
                    body.groups_claim.as_deref().unwrap_or(DEFAULT_GROUPS_CLAIM),
                )?,
                acr_values: words("acr_values", &body.acr_values)?,
                group_grants: group_grants(act, principal, &body.group_grants).await?,
                groups_from: body.groups_from,
                external_id_claim: word(
                    "external_id_claim",
                    body.external_id_claim.as_deref().unwrap_or(DEFAULT_EXTERNAL_ID_CLAIM),
                )?,
                disabled_at: None,
                created_at: act.now,
                version: 1,
                id,
            };
            act.tx.insert_provider(&provider).await?;
            let shown = self.shown_provider(&provider);
            let event = Event::ProviderCreated { provider: Box::new(shown.clone().into()) };
            act.audit(&event, About::target(&provider.id)).await?;
            Ok(Versioned::new(shown, provider.version))
        })
        .await
    }

    /// Changes, disables or enables a provider.
    pub async fn update_provider(
        &self,
        request: &Request<'_>,
        path: ProviderPath<'_>,
        input: Input<'_, UpdateProvider>,
    ) -> Result<Versioned<api::Provider>, Error> {
        self.change(
            Operation::UpdateProvider,
            request,
            path,
            async |act, principal, mut provider: Provider| {
                act.matches(provider.version)?;
                let body = input.read()?;
                let before: ProviderFacts = self.shown_provider(&provider).into();
                let old_name = provider.name.clone();
                if let Some(name) = &body.name {
                    provider.name = Name::parse("name", name)?;
                    free_name(act, &provider.id, &provider.name).await?;
                }
                let issuer =
                    body.issuer.as_deref().map(|issuer| self.issuer_of_provider(issuer)).transpose()?;
                let is_moved = issuer.as_ref().is_some_and(|issuer| *issuer != provider.issuer);
                provider.issuer = issuer.unwrap_or(provider.issuer);
                if let Some(text) = &body.client_id {
                    provider.client_id = client_id(text)?;
                }
                provider.client_authentication =
                    body.client_authentication.unwrap_or(provider.client_authentication);
                let secret = match &body.client_secret {
                    None => None,
                    Some(None) => Some(None),
                    Some(Some(text)) => Some(Some(client_secret(text)?)),
                };
                if is_moved
                    && secret.is_none()
                    && provider.client_authentication != ClientAuthentication::None
                {
                    // The secret can be replaced, but not read, so it is sent to no host that it was not given for.
                    return Err(Problem::invalid("client_secret", "is required with another issuer").into());
                }
                match &secret {
                    None => {}
                    Some(None) => provider.client_secret = None,
                    Some(Some(secret)) => {
                        provider.client_secret = Some(self.seal_of_provider(&provider.id, secret)?)
                    }
                }
                check_secret(provider.client_authentication, provider.client_secret.is_some())?;
                if let Some(list) = &body.scopes {
                    provider.scopes = scopes(list)?;
                }
                if let Some(list) = &body.domains {
                    provider.domains = domains(list)?;
                }
                if let Some(text) = &body.groups_claim {
                    provider.groups_claim = word("groups_claim", text)?;
                }
                if let Some(list) = &body.acr_values {
                    provider.acr_values = words("acr_values", list)?;
                }
                provider.groups_from = body.groups_from.unwrap_or(provider.groups_from);
                if let Some(text) = &body.external_id_claim {
                    provider.external_id_claim = word("external_id_claim", text)?;
                }
                let has_other_source = provider.groups_from != before.groups_from;
                let has_other_claim = provider.external_id_claim != before.external_id_claim;
                // Who is recognised by the other claim as somebody else would have two accounts, and keep one when they leave. With
                // another issuer, all are forgotten.
                if has_other_claim && !is_moved && act.tx.has_linked_scim_users(&provider.id).await? {
                    let what =
                        "cannot change while people whom the provider provisions have signed in with it or are deactivated";
                    let advice =
                        "Add another provider, or delete these people there first, which deletes their accounts.";
                    return Err(Problem::invalid("external_id_claim", what).advise(advice).into());
                }
                let list = body.group_grants.as_deref();
                let before_grants = provider.group_grants.clone();
                let has_other_grants = list.is_some_and(|list| *list != before_grants);
                // Whoever says who is in a group gives its roles, also with another issuer or claim (rule 24).
                let lets_others_in = is_moved
                    || provider.groups_claim != before.groups_claim
                    || has_other_source
                    || has_other_claim
                    // A provider can say other groups to another client, and with other scopes.
                    || provider.client_id != before.client_id
                    || provider.scopes != before.scopes
                    || body.enabled == Some(true) && provider.disabled_at.is_some();
                if has_other_grants || lets_others_in {
                    let list = list.unwrap_or(&before_grants);
                    provider.group_grants = match has_other_grants {
                        true => group_grants(act, principal, list).await?,
                        false => self.still_giveable(act, principal, list).await?,
                    };
                }
                if is_moved {
                    confirm(&old_name, body.confirm_name.as_deref())?;
                }
                let is_enabled = body.enabled == Some(true) && provider.disabled_at.is_some();
                let is_disabled = body.enabled == Some(false) && provider.disabled_at.is_none();
                provider.disabled_at = match body.enabled {
                    Some(true) => None,
                    Some(false) => provider.disabled_at.or(Some(act.now)),
                    None => provider.disabled_at,
                };
                let shown = self.shown_provider(&provider);
                let after: ProviderFacts = shown.clone().into();
                if after == before && secret.is_none() {
                    return Ok(Versioned::new(shown, provider.version));
                }
                act.tx.update_provider(&provider).await?;
                let ends = is_moved || is_disabled;
                let ended_sessions =
                    if ends { self.end_provider_sessions(act, &provider.id, None).await? } else { 0 };
                let ended_identities = match is_moved {
                    true => act.tx.delete_identities_at(&provider.id).await?,
                    false => 0,
                };
                let event = Event::ProviderUpdated {
                    before: Box::new(before),
                    after: Box::new(after),
                    client_secret_replaced: secret.is_some(),
                    ended_sessions,
                    ended_identities,
                };
                act.audit(&event, About::target(&provider.id)).await?;
                if has_other_claim && !is_moved {
                    act.tx.reset_external_ids(&provider.id, &provider.external_id_claim).await?;
                }
                if ends {
                    self.end_provisioning_tokens(act, &provider).await?;
                }
                if is_moved {
                    // They are other people, like its identities.
                    act.tx.end_scim(&provider.id).await?;
                }
                let by_provisioning =
                    provider.groups_from == GroupsFrom::Provisioning && provider.disabled_at.is_none();
                if by_provisioning && !ends && (has_other_source || has_other_grants || is_enabled) {
                    // What is given comes before what is removed.
                    self.settle_provisioned(act, &provider).await?;
                }
                if ends || has_other_grants {
                    let kept = if ends { &[][..] } else { &provider.group_grants };
                    self.end_provider_grants(act, &provider, kept).await?;
                }
                self.providers.forget(&provider.issuer);
                Ok(Versioned::new(shown, provider.version + 1))
            },
        )
        .await
    }

    /// Deletes a provider.
    pub async fn delete_provider(
        &self,
        request: &Request<'_>,
        path: ProviderPath<'_>,
        deletion: Deletion<'_>,
    ) -> Result<(), Error> {
        self.change(Operation::DeleteProvider, request, path, async |act, _, provider: Provider| {
            act.matches(provider.version)?;
            deletion.check("confirm_name", &[provider.name.as_str()], "the name of the provider")?;
            let ended_sessions = self.end_provider_sessions(act, &provider.id, None).await?;
            act.tx.delete_provider(&provider.id, act.now).await?;
            let provider_facts = Box::new(self.shown_provider(&provider).into());
            let event = Event::ProviderDeleted { provider: provider_facts, ended_sessions };
            act.audit(&event, About::target(&provider.id)).await?;
            self.end_provisioning_tokens(act, &provider).await?;
            act.tx.end_scim(&provider.id).await?;
            self.end_provider_grants(act, &provider, &[]).await
        })
        .await
    }

    /// Returns a provider as the API shows it.
    pub(super) fn shown_provider(&self, provider: &Provider) -> api::Provider {
        api::Provider {
            id: provider.id.clone(),
            name: provider.name.to_string(),
            issuer: provider.issuer.clone(),
            client_id: provider.client_id.clone(),
            client_authentication: provider.client_authentication,
            has_client_secret: provider.client_secret.is_some(),
            scopes: provider.scopes.clone(),
            domains: provider.domains.clone(),
            groups_claim: provider.groups_claim.clone(),
            acr_values: provider.acr_values.clone(),
            group_grants: provider.group_grants.clone(),
            groups_from: provider.groups_from,
            external_id_claim: provider.external_id_claim.clone(),
            enabled: provider.disabled_at.is_none(),
            redirect_uri: self.redirect_uri(&provider.id),
            back_channel_logout_uri: format!(
                "{}/console/sign-in/back-channel/{}",
                self.admin_url, provider.id
            ),
            post_logout_redirect_uri: self.post_logout_uri(),
            scim_url: self.scim_url(&provider.id),
            created_at: provider.created_at,
        }
    }

    /// Returns where a provider sends people back to. Each has its own, so that an answer of one is never read as one of
    /// another.
    pub(super) fn redirect_uri(&self, provider: &ProviderId) -> String {
        format!("{}/console/sign-in/callback/{provider}", self.admin_url)
    }

    pub(super) fn post_logout_uri(&self) -> String {
        format!("{}/console/sign-in", self.admin_url)
    }
}

/// Refuses a name that another provider has.
async fn free_name(act: &mut Act<'_>, own: &ProviderId, name: &Name) -> Result<(), Error> {
    let all = act.tx.provider_names().await?;
    let key = folded(name.as_str());
    if all.iter().any(|(id, other)| id != own && folded(other.as_str()) == key) {
        let text = "Another provider already has this name. Nothing was changed. Choose another name.";
        return Err(Problem::new(Code::NameTaken, text).with_field("name").into());
    }
    let is_new = all.iter().all(|(id, _)| id != own);
    match is_new && i64::try_from(all.len()).unwrap_or(i64::MAX) >= MAX_PROVIDERS {
        true => {
            let what = format!("must not be that of another provider, because there are {MAX_PROVIDERS}");
            Err(Problem::invalid("name", &what).into())
        }
        false => Ok(()),
    }
}

/// Requires the name, because people and credentials are sent to another host (rule 24).
fn confirm(name: &Name, typed: Option<&str>) -> Result<(), Problem> {
    if typed.is_some_and(|typed| name.is_typed_as(typed)) {
        return Ok(());
    }
    let text = "confirm_name must match the name of the provider exactly, because its issuer is changed. Nothing was changed.";
    Err(Problem::new(Code::ConfirmationMismatch, text).with_field("confirm_name"))
}
