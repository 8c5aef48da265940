//! `/users`, their grants, links and second factors, `/me`, and the sign-in policy.

use super::{
    call::{Call, Ids},
    reply::{created, done, ok, page, tagged},
    schema::{Schemas, Shape, example_of, nothing},
};
use crate::reply::Reply;
use crossfade_app::{AccessQuery, UserPath};
use crossfade_core::{api, roles::Role, second_factor::AskedFor};

pub(super) async fn read_me(call: Call) -> Reply {
    call.only(&[])?;
    ok(&call.app.read_me(&call.principal).await?)
}

pub(super) fn read_me_shape(schemas: &mut Schemas) -> Shape {
    schemas.answers::<api::Me>(200)
}

/// Filter parameters of the list of users.
const USER_FILTERS: &[&str] = &["q"];

pub(super) async fn list(call: Call) -> Reply {
    let (query, q) = (call.list(USER_FILTERS)?, call.parameter("q"));
    page(&call.uri, &call.app.list_users(&call.principal, q.as_deref(), &query).await?)
}

pub(super) fn list_shape(schemas: &mut Schemas) -> Shape {
    schemas.list::<api::User>(USER_FILTERS)
}

/// Filter parameters of the access review.
const ACCESS_FILTERS: &[&str] = &["user", "client", "environment", "permission"];

pub(super) async fn list_access(call: Call) -> Reply {
    let query = AccessQuery {
        list: call.list(ACCESS_FILTERS)?,
        user: call.parameter("user"),
        client: call.parameter("client"),
        environment: call.parameter("environment"),
        permission: call.parameter("permission"),
    };
    page(&call.uri, &call.app.list_access(&call.principal, &query).await?)
}

pub(super) fn list_access_shape(schemas: &mut Schemas) -> Shape {
    schemas.list::<api::Access>(ACCESS_FILTERS)
}

pub(super) async fn create(call: Call) -> Reply {
    tagged(created, &call.app.create_user(&call.request(), call.input()?).await?)
}

pub(super) fn create_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.tagged::<api::User>(201);
    let example = api::CreateUser {
        kind: Some(api::UserKind::Person),
        email: Some("grace@example.com".into()),
        name: Some("Grace".into()),
    };
    schemas.reads(shape, &example)
}

pub(super) async fn read(Ids(user): Ids<String>, call: Call) -> Reply {
    tagged(ok, &call.app.read_user(&call.principal, UserPath(&user)).await?)
}

pub(super) fn read_shape(schemas: &mut Schemas) -> Shape {
    schemas.tagged::<api::User>(200)
}

pub(super) async fn update(Ids(user): Ids<String>, call: Call) -> Reply {
    tagged(ok, &call.app.update_user(&call.request(), UserPath(&user), call.input()?).await?)
}

pub(super) fn update_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.tagged::<api::User>(200);
    schemas.reads(shape, &api::UpdateUser { name: Some("Grace H.".into()), ..Default::default() })
}

pub(super) async fn delete(Ids(user): Ids<String>, call: Call) -> Reply {
    let handed_over = call.app.delete_user(&call.request(), UserPath(&user), call.optional_input()).await?;
    if handed_over.handed_over_count == 0 { done(()) } else { ok(&handed_over) }
}

pub(super) fn delete_shape(schemas: &mut Schemas) -> Shape {
    let text = "The user owned clients, which were handed over.";
    let shape = schemas.or_answers::<api::HandedOver>(nothing(204), 200, text);
    let example = api::DeleteUser {
        hand_over_to: Some("team@example.com".into()),
        confirm_user_name: Some("Grace".into()),
    };
    Shape { body_optional: true, ..schemas.reads(shape, &example) }
}

pub(super) async fn hand_over(Ids(user): Ids<String>, call: Call) -> Reply {
    call.only(&[])?;
    ok(&call.app.read_hand_over(&call.principal, UserPath(&user)).await?)
}

pub(super) fn hand_over_shape(schemas: &mut Schemas) -> Shape {
    schemas.answers::<api::HandedOver>(200)
}

pub(super) async fn create_link(Ids(user): Ids<String>, call: Call) -> Reply {
    created(&call.app.create_link(&call.request(), UserPath(&user), call.optional_input()).await?)
}

pub(super) fn create_link_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.answers::<api::OneTimeLink>(201);
    Shape { body_optional: true, ..schemas.reads(shape, &api::CreateLink {}) }
}

pub(super) async fn list_grants(Ids(user): Ids<String>, call: Call) -> Reply {
    page(&call.uri, &call.app.list_grants(&call.principal, UserPath(&user), &call.list(&[])?).await?)
}

pub(super) fn list_grants_shape(schemas: &mut Schemas) -> Shape {
    schemas.list::<api::Grant>(&[])
}

pub(super) async fn create_grant(Ids(user): Ids<String>, call: Call) -> Reply {
    created(&call.app.create_grant(&call.request(), UserPath(&user), call.input()?).await?)
}

pub(super) fn create_grant_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.answers::<api::Grant>(201);
    let example = api::CreateGrant {
        role: Role::SecretRotator,
        property_id: Some(example_of("PropertyId")),
        client_id: None,
        environments: Some(vec!["staging".into()]),
    };
    schemas.reads(shape, &example)
}

pub(super) async fn delete_grant(Ids((user, grant)): Ids<(String, String)>, call: Call) -> Reply {
    done(call.app.delete_grant(&call.request(), UserPath(&user), &grant, call.optional_input()).await?)
}

pub(super) fn delete_grant_shape(_: &mut Schemas) -> Shape {
    nothing(204)
}

pub(super) async fn remove_factors(Ids(user): Ids<String>, call: Call) -> Reply {
    ok(&call.app.remove_factors(&call.request(), UserPath(&user), call.optional_input()).await?)
}

pub(super) fn remove_factors_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.answers::<api::FactorsRemoved>(200);
    let example = api::RemoveFactors { reason: Some("the phone was lost".into()) };
    Shape { body_optional: true, ..schemas.reads(shape, &example) }
}

pub(super) async fn read_policy(call: Call) -> Reply {
    call.only(&[])?;
    tagged(ok, &call.app.read_sign_in_policy(&call.principal).await?)
}

pub(super) fn read_policy_shape(schemas: &mut Schemas) -> Shape {
    schemas.tagged::<api::SignInPolicy>(200)
}

pub(super) async fn update_policy(call: Call) -> Reply {
    tagged(ok, &call.app.update_sign_in_policy(&call.request(), call.input()?).await?)
}

pub(super) fn update_policy_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.tagged::<api::SignInPolicy>(200);
    let example = api::UpdateSignInPolicy {
        second_factor: Some(AskedFor::SecretRoles),
        passwords: None,
        break_glass: None,
        reason: Some("required by the security team".into()),
    };
    schemas.reads(shape, &example)
}
