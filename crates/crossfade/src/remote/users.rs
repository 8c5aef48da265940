//! The commands under `crossfade user`, and `crossfade whoami`.

use super::{
    confirm::confirm_name,
    grants,
    http::{Api, form_encode},
};
use crate::{
    cli::{CreateUser as Create, Remote, User as Command},
    failure::Failure,
    output::{self, LINK, Sink, fixed, text, time},
};
use crossfade_core::{
    api::{
        CreateUser, DeleteUser, FactorsRemoved, HandedOver, HandedOverClient, Me, OneTimeLink, RemoveFactors,
        UpdateUser, User, UserKind,
    },
    owners::Heirs,
};
use reqwest::Method;
use serde_json::json;

/// Runs the command.
pub(crate) async fn user(command: Command) -> Result<(), Failure> {
    match command {
        Command::List { q, remote } => {
            let query = q.map(|q| format!("?{}", form_encode("q", &q))).unwrap_or_default();
            let users: Vec<User> = Api::new(&remote)?.list(&format!("/users{query}"), usize::MAX).await?;
            if remote.json {
                return output::json(&users);
            }
            shown(&users)
        }
        Command::Show { user, remote } => {
            let api = Api::new(&remote)?;
            let path = format!("/users/{}", api.find_user(&user).await?);
            one(&api, &api.get(&path).await?, remote.json).await
        }
        Command::Create(args) => create(args).await,
        Command::Update { user, change, confirm, remote } => {
            let api = Api::new(&remote)?;
            let path = format!("/users/{}", api.find_user(&user).await?);
            let body = UpdateUser { name: change.name, email: change.email, confirm_user_name: confirm };
            one(&api, &api.send(Method::PATCH, &path, &body).await?, remote.json).await
        }
        Command::Delete { user, hand_over_to, confirm, remote } => {
            let api = Api::new(&remote)?;
            let path = format!("/users/{}", api.find_user(&user).await?);
            let found: User = api.get(&path).await?;
            if confirm.is_none() {
                // A server of an earlier version does not have this list.
                match api.get::<HandedOver>(&format!("{path}/hand-over")).await {
                    Ok(owned) => note_owned(&found, &owned, hand_over_to.as_deref()),
                    Err(failure) if failure.is_not_found() => {}
                    Err(failure) => return Err(failure),
                }
            }
            let sentence = format!(
                "This deletes {}, ends their sessions, tokens, links and roles, and hands over the clients that they own.",
                described(&found)
            );
            confirm_name(confirm, &found.name, &sentence, "the user's name")?;
            let body = DeleteUser { hand_over_to, confirm_user_name: Some(found.name.clone()) };
            let handed_over: Option<HandedOver> = api.send(Method::DELETE, &path, &body).await?;
            output::note(&format!(
                "Deleted the user {}. Their sessions, tokens, links and roles have ended.",
                found.name
            ));
            match handed_over {
                Some(handed_over) => shown_clients(&handed_over, remote.json),
                None => Ok(()),
            }
        }
        Command::RemoveFactors { user, reason, remote } => {
            let api = Api::new(&remote)?;
            let path = format!("/users/{}/factors", api.find_user(&user).await?);
            let ended: FactorsRemoved = api.send(Method::DELETE, &path, &RemoveFactors { reason }).await?;
            if remote.json {
                return output::json(&ended);
            }
            output::note(&match ended.removed_count {
                0 => "The person has no second factor. Nothing was changed.".to_owned(),
                removed => format!(
                    "Removed second factors: {removed}. Ended sessions: {}. Ended API tokens: {}.",
                    ended.ended_sessions, ended.ended_tokens
                ),
            });
            Ok(())
        }
        Command::HandOver { user, remote } => {
            let api = Api::new(&remote)?;
            let path = format!("/users/{}/hand-over", api.find_user(&user).await?);
            let owned: HandedOver = api.get(&path).await?;
            if remote.json { output::json(&owned) } else { planned(&owned) }
        }
        Command::Link { user, value, remote } => {
            let api = Api::new(&remote)?;
            let path = format!("/users/{}/link", api.find_user(&user).await?);
            let body = json!({});
            let request = api.send::<OneTimeLink>(Method::POST, &path, &body);
            let (sink, mut link) = Sink::around(value.output.as_deref(), request).await?;
            let mailed = if link.mailed { MAILED } else { "" };
            let until = time(Some(link.expires_at));
            output::note(&format!("The link works once and expires at {until}.{mailed}"));
            if remote.json && sink.shows() {
                return output::json_value(&link, &LINK);
            }
            keep(sink, link.url.take())?;
            if remote.json { output::json(&link) } else { Ok(()) }
        }
    }
}

/// Shows the clients that a deleted user owned.
fn shown_clients(handed_over: &HandedOver, json: bool) -> Result<(), Failure> {
    if handed_over.ownerless_count > 0 {
        output::note(&format!(
            "Clients without an owner now: {}. Nobody manages them. List them with crossfade client list \
            --ownerless.",
            handed_over.ownerless_count
        ));
    }
    if json {
        return output::json(handed_over);
    }
    let row = |it: &HandedOverClient| vec![it.id.to_string(), it.name.clone(), it.owners.join(", ")];
    output::table(&[fixed("id"), text("name"), text("owners")], handed_over.clients.iter().map(row).collect())
}

/// Shows the clients that a user owns, and who would own them.
fn planned(owned: &HandedOver) -> Result<(), Failure> {
    if let Some(more) = more(owned) {
        output::note(&format!("The user also owns {more}."));
    }
    let row = |it: &HandedOverClient| vec![it.id.to_string(), it.name.clone(), heirs(it)];
    output::table(
        &[fixed("id"), text("name"), text("owned by after a deletion")],
        owned.clients.iter().map(row).collect(),
    )
}

/// Tells which clients a user owns before the user is deleted, and who takes over.
fn note_owned(user: &User, owned: &HandedOver, to: Option<&str>) {
    if owned.handed_over_count == 0 {
        return;
    }
    let count = match owned.handed_over_count {
        1 => "1 client".to_owned(),
        count => format!("{count} clients"),
    };
    output::note(&match to {
        Some(to) => format!("{} owns {count}, which {to} takes over:", user.name),
        None => format!("{} owns {count}. After the deletion:", user.name),
    });
    for client in &owned.clients {
        output::note(&match to {
            Some(_) => format!("  {} ({})", client.name, client.id),
            None => format!("  {} ({}) is owned by {}", client.name, client.id, heirs(client)),
        });
    }
    if let Some(more) = more(owned) {
        output::note(&format!("  and {more}"));
    }
}

/// Returns the clients that a list does not name; `None` if it names all.
fn more(owned: &HandedOver) -> Option<String> {
    let more = owned.handed_over_count.saturating_sub(owned.clients.len() as u64);
    match more {
        0 => None,
        1 => Some("1 client that is not listed here".to_owned()),
        more => Some(format!("{more} clients that are not listed here")),
    }
}

/// Returns the owners of a client after a deletion, and who they are.
fn heirs(client: &HandedOverClient) -> String {
    let owners = client.owners.join(", ");
    match client.heirs {
        Heirs::Chosen => owners,
        Heirs::OtherOwners => format!("{owners} (the other owners)"),
        Heirs::Managers => format!("{owners} (the managers)"),
        Heirs::Nobody => "nobody".to_owned(),
    }
}

/// Added if a link was mailed.
const MAILED: &str = " It was also mailed to the account.";

/// Returns a text such as "Grace Hopper (grace@example.com, secret_rotator)".
fn described(user: &User) -> String {
    let mut about: Vec<&str> = vec![user.email.as_deref().unwrap_or(user.kind.as_str())];
    about.extend(user.grants.iter().map(|grant| grant.role.as_str()));
    about.dedup();
    format!("{} ({})", user.name, about.join(", "))
}

async fn create(args: Create) -> Result<(), Failure> {
    let Create { email, name, link: destination, remote } = args;
    let api = Api::new(&remote)?;
    let kind = if destination.program { UserKind::Program } else { UserKind::Person };
    let body = CreateUser { kind: Some(kind), email, name };
    let request = api.send::<User>(Method::POST, "/users", &body);
    if destination.program {
        return one(&api, &request.await?, remote.json).await;
    }
    let (sink, mut user) = Sink::around(destination.output.as_deref(), request).await?;
    let until = user.activation_link.as_ref().map(|link| link.expires_at);
    let is_mailed = user.activation_link.as_ref().is_some_and(|link| link.mailed);
    output::note(&format!(
        "Created the user {} ({}). The link for setting a password works once and expires at {}.{}",
        user.id,
        user.name,
        time(until),
        if is_mailed { MAILED } else { "" }
    ));
    if remote.json && sink.shows() {
        return output::json_value(&user, &LINK);
    }
    keep(sink, user.activation_link.as_mut().and_then(|link| link.url.take()))?;
    if remote.json { output::json(&user) } else { Ok(()) }
}

fn keep(sink: Sink, url: Option<String>) -> Result<(), Failure> {
    match url {
        Some(url) => sink.put(&url, &LINK),
        None => {
            sink.discard();
            Err(Failure::failed(
                "The link was already delivered and is not shown again. Create another with crossfade user \
                link.",
            ))
        }
    }
}

/// Runs `crossfade whoami`.
pub(crate) async fn whoami(remote: Remote) -> Result<(), Failure> {
    let api = Api::new(&remote)?;
    let me: Me = api.get("/me").await?;
    if remote.json {
        return output::json(&me);
    }
    one(&api, &me.user, false).await?;
    output::note(&format!("This is the account of {}.", api.origin()));
    let scope = me.scope.map_or_else(
        || "This token has all permissions of its owner.".to_owned(),
        |words| format!("This token is limited to: {}.", words.join(" ")),
    );
    output::note(&scope);
    if let (Some(client), Some(environment)) = (me.client_id, me.environment) {
        output::note(&format!("It works for the client {client} in {environment}, and for no other."));
    }
    Ok(())
}

async fn one(api: &Api, user: &User, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(user);
    }
    shown(std::slice::from_ref(user))?;
    if user.grants.is_empty() {
        return Ok(());
    }
    output::data("\n")?;
    grants::shown(api, &user.grants).await
}

fn shown(users: &[User]) -> Result<(), Failure> {
    let row = |it: &User| {
        let roles: Vec<&str> = it.grants.iter().map(|grant| grant.role.as_str()).collect();
        vec![
            it.id.to_string(),
            it.kind.as_str().to_owned(),
            it.name.clone(),
            it.email.clone().unwrap_or_else(|| "-".to_owned()),
            match (it.kind, it.activated) {
                (UserKind::Program, _) => "-",
                (UserKind::Person, true) => "set",
                (UserKind::Person, false) => "not set",
            }
            .to_owned(),
            roles.join(", "),
        ]
    };
    output::table(
        &[fixed("id"), fixed("kind"), text("name"), text("email"), fixed("password"), text("roles")],
        users.iter().map(row).collect(),
    )
}
