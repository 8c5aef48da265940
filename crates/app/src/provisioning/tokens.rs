//! Provisioning tokens: list, create, end.

use crate::{
    app::App,
    error::Error,
    frame::{
        act::Act,
        cursor::{ListQuery, page},
        entry::About,
        idempotency::Repeatable,
        principal::Principal,
        request::{Input, NoInput, Request},
    },
    providers::provider::ProviderPath,
};
use crossfade_core::{
    Code, Operation, Problem, ProvisioningTokenId,
    api::{self, CreateProvisioningToken, Page},
    audit::Event,
    networks::Networks,
    provider::{MAX_PROVISIONING_TOKEN_DAYS, MAX_PROVISIONING_TOKENS},
    secret::{SecretKind, SecretValue},
};
use crossfade_store::{Provider, ProvisioningTokenRow};
use std::time::Duration;

impl Repeatable for api::ProvisioningToken {
    fn take_values(&mut self) -> Vec<String> {
        self.value.take().into_iter().collect()
    }

    fn put_values(&mut self, values: Vec<String>) {
        self.value = values.into_iter().next();
    }
}

fn shown(row: &ProvisioningTokenRow) -> api::ProvisioningToken {
    api::ProvisioningToken {
        id: row.id.clone(),
        allowed_networks: row.allowed_networks.as_ref().map(Networks::list),
        created_at: row.created_at,
        expires_at: row.expires_at,
        // Noted to the minute.
        last_used_at: row.last_used_at.map(|at| at.max(row.created_at)),
        value: None,
    }
}

impl App {
    /// Returns the provisioning tokens of a provider, oldest first.
    pub async fn list_provisioning_tokens(
        &self,
        principal: &Principal,
        path: ProviderPath<'_>,
        query: &ListQuery,
    ) -> Result<Page<api::ProvisioningToken>, Error> {
        let start = self.cursors.start(format!("provisioning tokens {}", path.0), query)?;
        self.view(Operation::ListProvisioningTokens, principal, path, async |tx, _, provider: Provider| {
            // A provider has few, but a list ends where its cursor says.
            let key = |row: &ProvisioningTokenRow| (row.created_at.as_micros(), row.id.to_string());
            let mut rows = tx.provisioning_tokens(&provider.id).await?;
            rows.retain(|row| start.after.as_ref().is_none_or(|after| key(row) > *after));
            rows.truncate(usize::try_from(start.limit).unwrap_or(usize::MAX));
            page(&start, rows, key, |row| shown(&row))
        })
        .await
    }

    /// Creates a provisioning token and returns its value, only this once.
    pub async fn create_provisioning_token(
        &self,
        request: &Request<'_>,
        path: ProviderPath<'_>,
        input: Input<'_, CreateProvisioningToken>,
    ) -> Result<api::ProvisioningToken, Error> {
        let operation = Operation::CreateProvisioningToken;
        self.change(operation, request, path, async |act, principal, provider: Provider| {
            act.matches_list()?;
            let body = input.read()?;
            if provider.disabled_at.is_some() {
                let text = "The provider is disabled, which ends its provisioning tokens. Nothing was changed. Enable it first.";
                return Err(Problem::new(Code::InUse, text).into());
            }
            let days = body.expires_days.unwrap_or(MAX_PROVISIONING_TOKEN_DAYS);
            if !(1..=MAX_PROVISIONING_TOKEN_DAYS).contains(&days) {
                let what = format!("must be a whole number from 1 to {MAX_PROVISIONING_TOKEN_DAYS}");
                return Err(Problem::invalid("expires_days", &what).into());
            }
            let networks = body.allowed_networks.as_deref();
            let allowed_networks =
                networks.map(|list| Networks::parse("allowed_networks", list)).transpose()?;
            // Whoever has the token says who is in a group, and so gives its roles (rule 24).
            self.still_giveable(act, principal, &provider.group_grants).await?;
            for row in act.tx.provisioning_tokens(&provider.id).await? {
                if row.expires_at <= act.now {
                    self.end_provisioning_token(act, &provider, &row.id).await?;
                }
            }
            if act.tx.provisioning_tokens(&provider.id).await?.len() >= MAX_PROVISIONING_TOKENS {
                let text = format!(
                    "The provider has {MAX_PROVISIONING_TOKENS} provisioning tokens already. Nothing was changed. End one of them first."
                );
                return Err(Problem::new(Code::InUse, text).into());
            }
            let value = SecretValue::generate(SecretKind::Provisioning, self.random.as_ref());
            let row = ProvisioningTokenRow {
                id: ProvisioningTokenId::generate(self.random.as_ref()),
                provider_id: provider.id.clone(),
                allowed_networks,
                created_at: act.now,
                expires_at: act.now.after(Duration::from_secs(u64::from(days) * 86_400)),
                last_used_at: None,
            };
            act.tx
                .insert_provisioning_token(&row, &self.digests.provisioning_token(value.reveal()))
                .await?;
            let mut reply = shown(&row);
            let event = Event::ProvisioningTokenCreated {
                provider_id: provider.id.clone(),
                provider_name: provider.name.to_string(),
                provisioning_token_id: row.id,
                expires_at: row.expires_at,
                allowed_networks: reply.allowed_networks.clone(),
            };
            act.audit(&event, About::target(&provider.id)).await?;
            reply.value = Some(value.reveal().to_owned());
            Ok(reply)
        })
        .await
    }

    /// Ends a provisioning token.
    pub async fn delete_provisioning_token(
        &self,
        request: &Request<'_>,
        path: ProviderPath<'_>,
        token: &str,
        input: NoInput<'_>,
    ) -> Result<(), Error> {
        let operation = Operation::DeleteProvisioningToken;
        self.change(operation, request, path, async |act, _, provider: Provider| {
            let id = ProvisioningTokenId::parse(token).map_err(|_| Problem::not_found())?;
            let all = act.tx.provisioning_tokens(&provider.id).await?;
            if !all.iter().any(|row| row.id == id) {
                return Err(Problem::not_found().into());
            }
            act.matches_list()?;
            input.check()?;
            self.end_provisioning_token(act, &provider, &id).await
        })
        .await
    }

    /// Ends a token and records it.
    pub(super) async fn end_provisioning_token(
        &self,
        act: &mut Act<'_>,
        provider: &Provider,
        id: &ProvisioningTokenId,
    ) -> Result<(), Error> {
        act.tx.delete_provisioning_token(id, act.now).await?;
        let event = Event::ProvisioningTokenDeleted {
            provider_id: provider.id.clone(),
            provider_name: provider.name.to_string(),
            provisioning_token_id: id.clone(),
        };
        act.audit(&event, About::target(&provider.id)).await
    }
}
