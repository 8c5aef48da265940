//! `crossfade access list`.

use super::http::{Api, form_encode};
use crate::{
    cli::{Access as Command, ListAccess},
    failure::Failure,
    output::{self, fixed, text, time},
};
use crossfade_core::api::Access;

/// Runs the command.
pub(crate) async fn access(Command::List(args): Command) -> Result<(), Failure> {
    let ListAccess { user, client, env, permission, remote } = args;
    let api = Api::new(&remote)?;
    let mut query = Vec::new();
    if let Some(user) = user {
        query.push(form_encode("user", api.find_user(&user).await?.as_str()));
    }
    if let Some(client) = client {
        query.push(form_encode("client", api.find_client(&client).await?.id.as_str()));
    }
    query.extend(env.map(|env| form_encode("environment", &env)));
    query.extend(permission.map(|permission| form_encode("permission", &permission)));
    let rows: Vec<Access> = api.list(&format!("/access?{}", query.join("&")), usize::MAX).await?;
    if remote.json {
        return output::json(&rows);
    }
    output::table(
        &[
            text("account"),
            fixed("role"),
            text("scope"),
            text("environments"),
            fixed("granted"),
            text("source"),
            fixed("last active"),
        ],
        rows.into_iter().map(row).collect(),
    )
}

fn row(it: Access) -> Vec<String> {
    let Access { user, grant, property_name, client_name, provider_name, .. } = it;
    let on = match (grant.property_id, grant.client_id) {
        (_, Some(client)) => client_name.unwrap_or_else(|| client.to_string()),
        (Some(property), None) => property_name.unwrap_or_else(|| property.to_string()),
        (None, None) => "the platform".to_owned(),
    };
    let by = match (provider_name, grant.group) {
        (Some(provider), Some(group)) => format!("group {group} of {provider}"),
        _ => "manual".to_owned(),
    };
    vec![
        user.email.unwrap_or(user.name),
        grant.role.as_str().to_owned(),
        on,
        grant.environments.map_or_else(|| "all".to_owned(), |slugs| slugs.join(", ")),
        time(Some(grant.created_at)),
        by,
        time(user.last_active_at),
    ]
}
