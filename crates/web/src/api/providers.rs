//! `/providers`.

use super::{
    call::{Call, Ids},
    reply::{created, done, ok, page, tagged},
    schema::{Schemas, Shape, nothing},
};
use crate::reply::Reply;
use crossfade_app::ProviderPath;
use crossfade_core::{api, roles::Role};

pub(super) async fn list(call: Call) -> Reply {
    let providers = call.app.list_providers(&call.principal, &call.list(&[])?).await?;
    page(&call.uri, &providers)
}

pub(super) fn list_shape(schemas: &mut Schemas) -> Shape {
    schemas.list::<api::Provider>(&[])
}

pub(super) async fn create(call: Call) -> Reply {
    tagged(created, &call.app.create_provider(&call.request(), call.input()?).await?)
}

pub(super) fn create_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.tagged::<api::Provider>(201);
    let example = api::CreateProvider {
        name: "Example".into(),
        issuer: "https://id.example.com".into(),
        client_id: "crossfade".into(),
        client_secret: Some("the secret that the provider has made".into()),
        domains: vec!["example.com".into()],
        group_grants: vec![api::GroupGrant {
            group: "engineers".into(),
            role: Role::Viewer,
            property_id: None,
            client_id: None,
            environments: None,
        }],
        ..api::CreateProvider::default()
    };
    schemas.reads(shape, &example)
}

pub(super) async fn read(Ids(provider): Ids<String>, call: Call) -> Reply {
    tagged(ok, &call.app.read_provider(&call.principal, ProviderPath(&provider)).await?)
}

pub(super) fn read_shape(schemas: &mut Schemas) -> Shape {
    schemas.tagged::<api::Provider>(200)
}

pub(super) async fn update(Ids(provider): Ids<String>, call: Call) -> Reply {
    tagged(ok, &call.app.update_provider(&call.request(), ProviderPath(&provider), call.input()?).await?)
}

pub(super) fn update_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.tagged::<api::Provider>(200);
    schemas.reads(shape, &api::UpdateProvider { enabled: Some(false), ..api::UpdateProvider::default() })
}

pub(super) async fn delete(Ids(provider): Ids<String>, call: Call) -> Reply {
    done(call.app.delete_provider(&call.request(), ProviderPath(&provider), call.deletion()).await?)
}

pub(super) fn delete_shape(_: &mut Schemas) -> Shape {
    nothing(204)
}

pub(super) async fn list_tokens(Ids(provider): Ids<String>, call: Call) -> Reply {
    let query = call.list(&[])?;
    let tokens = call.app.list_provisioning_tokens(&call.principal, ProviderPath(&provider), &query).await?;
    page(&call.uri, &tokens)
}

pub(super) fn list_tokens_shape(schemas: &mut Schemas) -> Shape {
    schemas.list::<api::ProvisioningToken>(&[])
}

pub(super) async fn create_token(Ids(provider): Ids<String>, call: Call) -> Reply {
    let input = call.optional_input();
    created(&call.app.create_provisioning_token(&call.request(), ProviderPath(&provider), input).await?)
}

pub(super) fn create_token_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.answers::<api::ProvisioningToken>(201);
    let example = api::CreateProvisioningToken {
        expires_days: Some(180),
        allowed_networks: Some(vec!["192.0.2.0/24".into()]),
    };
    Shape { body_optional: true, ..schemas.reads(shape, &example) }
}

pub(super) async fn delete_token(Ids((provider, token)): Ids<(String, String)>, call: Call) -> Reply {
    let path = ProviderPath(&provider);
    done(call.app.delete_provisioning_token(&call.request(), path, &token, call.optional_input()).await?)
}

pub(super) fn delete_token_shape(_: &mut Schemas) -> Shape {
    nothing(204)
}
