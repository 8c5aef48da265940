//! Provisioning by SCIM 2.0, `/scim/v2/{provider}` (RFC 7644): a handler for each operation, and the lists of what the server
//! can do. `request` reads requests, `reply` writes responses and refusals.

mod reply;
mod request;

use self::{
    reply::{Answer, created, done, not_found, ok, refused, unsupported},
    request::{Entered, Path1, Path2, Wanted},
};
use crate::{
    Web, observe,
    routing::{any, delete, get, patch, post, put},
};
use axum::{
    Router,
    http::{HeaderMap, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::MethodRouter,
};
use crossfade_app::ScimPage;
use crossfade_core::{
    Code, Problem,
    scim::{MAX_RESULTS, Resource, document, documents, project, read_patch, service_provider_config},
};
use serde_json::Value;

pub(crate) fn router() -> Router<Web> {
    let named = |handlers: MethodRouter<Web>, name| observe::name(handlers, name);
    let list = |of: Resource| match of {
        Resource::User => {
            named(get(list_users), "list_scim_users").merge(named(post(create_user), "create_scim_user"))
        }
        Resource::Group => {
            named(get(list_groups), "list_scim_groups").merge(named(post(create_group), "create_scim_group"))
        }
    };
    let user = named(get(read_user), "read_scim_user")
        .merge(named(put(replace_user), "replace_scim_user"))
        .merge(named(patch(update_user), "update_scim_user"))
        .merge(named(delete(delete_user), "delete_scim_user"));
    let group = named(get(read_group), "read_scim_group")
        .merge(named(put(replace_group), "replace_scim_group"))
        .merge(named(patch(update_group), "update_scim_group"))
        .merge(named(delete(delete_group), "delete_scim_group"));
    let scim = Router::new()
        .route("/Users", list(Resource::User))
        .route("/.search", named(post(search_all), "list_scim_resources"))
        .route("/Users/.search", named(post(search_users), "list_scim_users"))
        .route("/Users/{id}", user)
        .route("/Groups", list(Resource::Group))
        .route("/Groups/.search", named(post(search_groups), "list_scim_groups"))
        .route("/Groups/{id}", group)
        .route("/ServiceProviderConfig", named(get(config), "read_scim_config"))
        .route("/ResourceTypes", named(get(resource_types), "list_scim_resource_types"))
        .route("/ResourceTypes/{id}", named(get(resource_type), "read_scim_resource_type"))
        .route("/Schemas", named(get(schemas), "list_scim_schemas"))
        .route("/Schemas/{id}", named(get(schema), "read_scim_schema"))
        .route("/Bulk", any(unsupported))
        .route("/Me", any(unsupported))
        .fallback(not_found)
        .method_not_allowed_fallback(reply::method_not_allowed);
    Router::new().nest("/scim/v2/{provider}", scim).layer(middleware::from_fn(crate::finish))
}

async fn list_users(Path1(provider): Path1, entered: Entered) -> Answer {
    let query = entered.query(Resource::User)?;
    let page = entered.app.list_scim_users(entered.by(&provider)?, &query).await?;
    Ok(listed(page, &entered.wanted(Resource::User)))
}

async fn search_users(Path1(provider): Path1, entered: Entered) -> Answer {
    let entered = entered.searching()?;
    let query = entered.query(Resource::User)?;
    let page = entered.app.list_scim_users(entered.by(&provider)?, &query).await?;
    Ok(listed(page, &entered.wanted(Resource::User)))
}

/// Searches people, and groups after them. A filter that one of both does not have finds none of it.
async fn search_all(Path1(provider): Path1, entered: Entered) -> Answer {
    let entered = entered.searching()?;
    let by = entered.by(&provider)?;
    let (people, groups) = (entered.query(Resource::User), entered.query(Resource::Group));
    let mut found = match people {
        Ok(query) => entered.app.list_scim_users(by, &query).await?,
        Err(problem) if groups.is_err() => return Err(problem.into()),
        Err(_) => ScimPage { resources: Vec::new(), total: 0, start_index: 1 },
    };
    shorten(&mut found.resources, &entered.wanted(Resource::User));
    if let Ok(mut query) = groups {
        found.start_index = query.start_index;
        query.count = query.count.min(MAX_RESULTS).saturating_sub(found.resources.len());
        query.start_index = query.start_index.saturating_sub(found.total).max(1);
        let mut more = entered.app.list_scim_groups(by, &query).await?;
        shorten(&mut more.resources, &entered.wanted(Resource::Group));
        found.resources.append(&mut more.resources);
        found.total += more.total;
    }
    Ok(reply::json(StatusCode::OK, &found.shown()))
}

async fn create_user(Path1(provider): Path1, entered: Entered) -> Answer {
    let made = entered.app.create_scim_user(entered.by(&provider)?, entered.object()?).await?;
    Ok(created(made, &entered.wanted(Resource::User)))
}

async fn read_user(Path2(provider, id): Path2, entered: Entered) -> Answer {
    let found = entered.app.read_scim_user(entered.by(&provider)?, &id).await?;
    Ok(entered.unless_known(found, Resource::User))
}

async fn replace_user(Path2(provider, id): Path2, entered: Entered) -> Answer {
    let (by, body) = (entered.by(&provider)?, entered.object()?);
    let changed = entered.app.replace_scim_user(by, &id, body, entered.if_match()).await?;
    Ok(ok(changed, &entered.wanted(Resource::User)))
}

async fn update_user(Path2(provider, id): Path2, entered: Entered) -> Answer {
    let operations = read_patch(Resource::User, entered.object()?)?;
    let by = entered.by(&provider)?;
    let changed = entered.app.update_scim_user(by, &id, &operations, entered.if_match()).await?;
    Ok(ok(changed, &entered.wanted(Resource::User)))
}

async fn delete_user(Path2(provider, id): Path2, entered: Entered) -> Answer {
    entered.app.delete_scim_user(entered.by(&provider)?, &id, entered.if_match()).await?;
    Ok(done())
}

async fn list_groups(Path1(provider): Path1, entered: Entered) -> Answer {
    let query = entered.query(Resource::Group)?;
    let page = entered.app.list_scim_groups(entered.by(&provider)?, &query).await?;
    Ok(listed(page, &entered.wanted(Resource::Group)))
}

async fn search_groups(Path1(provider): Path1, entered: Entered) -> Answer {
    let entered = entered.searching()?;
    let query = entered.query(Resource::Group)?;
    let page = entered.app.list_scim_groups(entered.by(&provider)?, &query).await?;
    Ok(listed(page, &entered.wanted(Resource::Group)))
}

async fn create_group(Path1(provider): Path1, entered: Entered) -> Answer {
    let made = entered.app.create_scim_group(entered.by(&provider)?, entered.object()?).await?;
    Ok(created(made, &entered.wanted(Resource::Group)))
}

async fn read_group(Path2(provider, id): Path2, entered: Entered) -> Answer {
    let with_members = entered.wants_members();
    let found = entered.app.read_scim_group(entered.by(&provider)?, &id, with_members).await?;
    Ok(entered.unless_known(found, Resource::Group))
}

async fn replace_group(Path2(provider, id): Path2, entered: Entered) -> Answer {
    let (by, body) = (entered.by(&provider)?, entered.object()?);
    let changed = entered.app.replace_scim_group(by, &id, body, entered.if_match()).await?;
    Ok(ok(changed, &entered.wanted(Resource::Group)))
}

/// Changes a group. The response has no body, because a group can have thousands of members, unless attributes are asked for
/// (RFC 7644 §3.5.2).
async fn update_group(Path2(provider, id): Path2, entered: Entered) -> Answer {
    let operations = read_patch(Resource::Group, entered.object()?)?;
    let by = entered.by(&provider)?;
    let changed = entered.app.update_scim_group(by, &id, &operations, entered.if_match()).await?;
    let wanted = entered.wanted(Resource::Group);
    if wanted.attributes.is_some() {
        return Ok(ok(changed, &wanted));
    }
    let tag = HeaderMap::from_iter(changed.tag.parse().ok().map(|tag| (header::ETAG, tag)));
    Ok((StatusCode::NO_CONTENT, tag).into_response())
}

async fn delete_group(Path2(provider, id): Path2, entered: Entered) -> Answer {
    entered.app.delete_scim_group(entered.by(&provider)?, &id, entered.if_match()).await?;
    Ok(done())
}

async fn config(Path1(provider): Path1, entered: Entered) -> Answer {
    entered.by(&provider)?;
    Ok(reply::json(StatusCode::OK, &service_provider_config(&entered.base)))
}

async fn resource_types(Path1(provider): Path1, entered: Entered) -> Answer {
    described(&provider, &entered, "ResourceTypes")
}

async fn resource_type(Path2(provider, id): Path2, entered: Entered) -> Answer {
    described_one(&provider, &entered, ("ResourceTypes", &id))
}

async fn schemas(Path1(provider): Path1, entered: Entered) -> Answer {
    described(&provider, &entered, "Schemas")
}

async fn schema(Path2(provider, id): Path2, entered: Entered) -> Answer {
    described_one(&provider, &entered, ("Schemas", &id))
}

/// Returns a list of what the server knows. It cannot be filtered (RFC 7644 §4).
fn described(provider: &str, entered: &Entered, list: &str) -> Answer {
    entered.by(provider)?;
    if entered.parameter("filter").is_some() {
        let problem = Problem::new(Code::Forbidden, "This list cannot be filtered.");
        return Ok(refused(&problem));
    }
    Ok(reply::json(StatusCode::OK, &documents(list, &entered.base)))
}

fn described_one(provider: &str, entered: &Entered, (list, id): (&str, &str)) -> Answer {
    entered.by(provider)?;
    match document(list, id, &entered.base) {
        Some(found) => Ok(reply::json(StatusCode::OK, &found)),
        None => Ok(refused(&Problem::not_found())),
    }
}

/// Returns a list whose resources have only the attributes that were asked for.
fn listed(mut page: ScimPage, wanted: &Wanted) -> Response {
    shorten(&mut page.resources, wanted);
    reply::json(StatusCode::OK, &page.shown())
}

fn shorten(resources: &mut [Value], wanted: &Wanted) {
    for resource in resources {
        project(resource, wanted.attributes.as_deref(), wanted.excluded.as_deref(), wanted.of);
    }
}
