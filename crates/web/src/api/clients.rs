//! `/clients` and their registrations.

use super::{
    call::{Call, Ids},
    reply::{created, ok, page, tagged},
    schema::{Schemas, Shape, example_of},
};
use crate::reply::Reply;
use crossfade_app::{ClientPath, ClientQuery, RegistrationPath};
use crossfade_core::{api, registration::AuthMethod, upstream::CredentialMethod};

/// Filter parameters of the list of clients.
const CLIENT_FILTERS: &[&str] =
    &["q", "property_id", "environment", "overdue", "ownerless", "without_secret"];

pub(super) async fn list(call: Call) -> Reply {
    let query = ClientQuery {
        list: call.list(CLIENT_FILTERS)?,
        q: call.parameter("q"),
        property_id: call.parameter("property_id"),
        environment: call.parameter("environment"),
        overdue: call.parameter("overdue"),
        ownerless: call.parameter("ownerless"),
        without_secret: call.parameter("without_secret"),
    };
    page(&call.uri, &call.app.list_clients(&call.principal, &query).await?)
}

pub(super) fn list_shape(schemas: &mut Schemas) -> Shape {
    schemas.list::<api::Client>(CLIENT_FILTERS)
}

pub(super) async fn create(call: Call) -> Reply {
    tagged(created, &call.app.create_client(&call.request(), call.input()?).await?)
}

pub(super) fn create_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.tagged::<api::Client>(201);
    let example = api::CreateClient {
        name: "Billing API".into(),
        property_id: example_of("PropertyId"),
        description: Some("Writes invoices.".into()),
        owners: vec!["ada@example.com".into()],
        environments: vec!["development".into(), "production".into()],
        client_id: None,
        adopt: false,
        require_value: false,
    };
    schemas.reads(shape, &example)
}

pub(super) async fn read(Ids(client): Ids<String>, call: Call) -> Reply {
    tagged(ok, &call.app.read_client(&call.principal, ClientPath(&client)).await?)
}

pub(super) fn read_shape(schemas: &mut Schemas) -> Shape {
    schemas.tagged::<api::Client>(200)
}

pub(super) async fn update(Ids(client): Ids<String>, call: Call) -> Reply {
    let request = call.request();
    tagged(ok, &call.app.update_client(&request, ClientPath(&client), call.input()?).await?)
}

pub(super) fn update_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.tagged::<api::Client>(200);
    let owners = Some(vec!["ada@example.com".into(), "grace@example.com".into()]);
    schemas.reads(shape, &api::UpdateClient { owners, ..Default::default() })
}

pub(super) async fn delete(Ids(client): Ids<String>, call: Call) -> Reply {
    ok(&call.app.delete_client(&call.request(), ClientPath(&client), call.input()?).await?)
}

pub(super) fn delete_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.answers::<api::ClientDeleted>(200);
    let example = api::DeleteClient {
        confirm_client_name: "Billing API".into(),
        reason: "replaced by Invoicing".into(),
    };
    schemas.reads(shape, &example)
}

pub(super) async fn create_registration(Ids(client): Ids<String>, call: Call) -> Reply {
    let request = call.request();
    tagged(created, &call.app.create_registration(&request, ClientPath(&client), call.input()?).await?)
}

pub(super) fn create_registration_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.tagged::<api::Registration>(201);
    let example = api::CreateRegistration {
        environment: "staging".into(),
        client_id: None,
        adopt: false,
        require_value: false,
    };
    schemas.reads(shape, &example)
}

pub(super) async fn read_registration(
    Ids((client, environment)): Ids<(String, String)>,
    call: Call,
) -> Reply {
    let path = RegistrationPath { client: &client, environment: &environment };
    tagged(ok, &call.app.read_registration(&call.principal, path).await?)
}

pub(super) fn read_registration_shape(schemas: &mut Schemas) -> Shape {
    schemas.tagged::<api::Registration>(200)
}

pub(super) async fn update_registration(
    Ids((client, environment)): Ids<(String, String)>,
    call: Call,
) -> Reply {
    let path = RegistrationPath { client: &client, environment: &environment };
    let request = call.request();
    tagged(ok, &call.app.update_registration(&request, path, call.input()?).await?)
}

pub(super) fn update_registration_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.tagged::<api::Registration>(200);
    let example = api::UpdateRegistration {
        token_endpoint_auth_methods: Some(vec![AuthMethod::ClientSecretBasic]),
        scopes: Some(vec!["invoices:read".into()]),
        ..Default::default()
    };
    schemas.reads(shape, &example)
}

pub(super) async fn read_upstream_credential(
    Ids((client, environment)): Ids<(String, String)>,
    call: Call,
) -> Reply {
    let path = RegistrationPath { client: &client, environment: &environment };
    tagged(ok, &call.app.read_upstream_credential(&call.principal, path).await?)
}

pub(super) fn read_upstream_credential_shape(schemas: &mut Schemas) -> Shape {
    schemas.tagged::<api::UpstreamCredential>(200)
}

pub(super) async fn update_upstream_credential(
    Ids((client, environment)): Ids<(String, String)>,
    call: Call,
) -> Reply {
    let path = RegistrationPath { client: &client, environment: &environment };
    let request = call.request();
    tagged(ok, &call.app.update_upstream_credential(&request, path, call.input()?).await?)
}

pub(super) fn update_upstream_credential_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.tagged::<api::UpstreamCredential>(200);
    let example = api::UpdateUpstreamCredential {
        method: Some(CredentialMethod::ClientSecretBasic),
        secret: Some("the secret at the issuer".into()),
        next: None,
    };
    schemas.reads(shape, &example)
}

pub(super) async fn test_upstream_credential(
    Ids((client, environment)): Ids<(String, String)>,
    call: Call,
) -> Reply {
    let path = RegistrationPath { client: &client, environment: &environment };
    ok(&call.app.test_upstream_credential(&call.request(), path, call.optional_input()).await?)
}

pub(super) fn test_upstream_credential_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.answers::<api::UpstreamCredentialTested>(200);
    Shape { body_optional: true, ..schemas.reads(shape, &api::TestUpstreamCredential {}) }
}

pub(super) async fn release_upstream_credential(
    Ids((client, environment)): Ids<(String, String)>,
    call: Call,
) -> Reply {
    let path = RegistrationPath { client: &client, environment: &environment };
    ok(&call.app.release_upstream_credential(&call.request(), path, call.optional_input()).await?)
}

pub(super) fn release_upstream_credential_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.answers::<api::UpstreamRelease>(200);
    Shape { body_optional: true, ..schemas.reads(shape, &api::ReleaseUpstreamCredential {}) }
}
