//! Properties, environments, clients, tokens, the trail.

use super::http::{Api, form_encode};
use crate::{
    cli::{self, Audit, Env, Property, RemoteToken},
    failure::Failure,
    output::{self, Sink, time},
};
use crossfade_core::api::{
    AuditEvent, Client, CreateClient, Environment, PropertyBody, RotateSigningKey, SigningKey, Token,
    UpdateEnvironment,
};
use reqwest::Method;
use serde_json::json;

/// `crossfade property …`.
pub(crate) async fn property(command: Property) -> Result<(), Failure> {
    let properties: Vec<crossfade_core::api::Property> = match command {
        Property::List(remote) => {
            let properties = Api::new(&remote)?.list("/properties", usize::MAX).await?;
            if remote.json {
                return output::json(&properties);
            }
            properties
        }
        Property::Create { name, remote } => {
            let property =
                Api::new(&remote)?.send(Method::POST, "/properties", &PropertyBody { name }).await?;
            if remote.json {
                return output::json(&property);
            }
            vec![property]
        }
    };
    let rows = properties
        .into_iter()
        .map(|it| vec![it.id.to_string(), it.name, time(Some(it.created_at))])
        .collect();
    output::table(&["id", "name", "created"], rows)
}

/// `crossfade env …`.
pub(crate) async fn environment(command: Env) -> Result<(), Failure> {
    match command {
        Env::List(remote) => shown_environments(
            &Api::new(&remote)?.get::<Vec<Environment>>("/environments").await?,
            remote.json,
        ),
        Env::Update { environment, signing_alg, show_once, wipe_after_days, max_age_days, remote } => {
            if (signing_alg.is_none(), show_once, wipe_after_days, max_age_days) == (true, None, None, None) {
                return Err(Failure::usage("Say what to change, such as --max-age-days 90."));
            }
            let body = UpdateEnvironment {
                signing_alg: signing_alg.map(Into::into),
                show_once,
                wipe_after_days,
                max_age_days: max_age_days.map(Some),
                ..UpdateEnvironment::default()
            };
            let changed = Api::new(&remote)?
                .send(Method::PATCH, &format!("/environments/{environment}"), &body)
                .await?;
            shown_environments(&[changed], remote.json)
        }
        Env::RotateKey { environment, reason, immediate, compromised, remote } => {
            let path = format!("/environments/{environment}/signing-keys/rotate");
            let body = RotateSigningKey { reason, immediate, compromised };
            shown_keys(Api::new(&remote)?.send(Method::POST, &path, &body).await?, remote.json)
        }
        Env::Keys { environment, remote } => {
            let path = format!("/environments/{environment}/signing-keys");
            shown_keys(Api::new(&remote)?.get(&path).await?, remote.json)
        }
    }
}

fn shown_environments(environments: &[Environment], json: bool) -> Result<(), Failure> {
    if json {
        return output::json(&environments);
    }
    let row = |it: &Environment| {
        vec![
            it.slug.clone(),
            it.kind.as_str().to_owned(),
            it.signing_alg.as_str().to_owned(),
            if it.show_once {
                "shown once".to_owned()
            } else {
                format!("wiped {} d after the end", it.wipe_after_days)
            },
            it.max_age_days.map_or_else(|| "-".to_owned(), |days| format!("{days} d")),
            it.issuer.clone(),
        ]
    };
    output::table(
        &["slug", "kind", "signs", "values", "max age", "issuer"],
        environments.iter().map(row).collect(),
    )
}

fn shown_keys(keys: Vec<SigningKey>, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(&keys);
    }
    let row = |it: SigningKey| {
        vec![it.kid, it.alg.as_str().to_owned(), time(Some(it.active_from)), time(it.removed_at)]
    };
    output::table(&["kid", "alg", "signs from", "published until"], keys.into_iter().map(row).collect())
}

/// `crossfade client …`.
pub(crate) async fn client(command: cli::Client) -> Result<(), Failure> {
    match command {
        cli::Client::List { q, env, overdue, remote } => {
            let mut query: Vec<String> = Vec::new();
            query.extend(q.map(|q| form_encode("q", &q)));
            query.extend(env.map(|env| form_encode("environment", &env)));
            query.extend(overdue.then(|| "overdue=true".to_owned()));
            let clients: Vec<Client> =
                Api::new(&remote)?.list(&format!("/clients?{}", query.join("&")), usize::MAX).await?;
            shown_clients(&clients, remote.json)
        }
        cli::Client::Show { client, remote } => {
            let client = Api::new(&remote)?.find_client(&client).await?;
            shown_client(&client, remote.json)
        }
        cli::Client::Create { name, property, env, owner, description, value, remote } => {
            if value.output.is_some() && env.len() != 1 {
                return Err(Failure::usage(
                    "--output takes one value; create the client in one environment, or use --show.",
                ));
            }
            let api = Api::new(&remote)?;
            let property_id = api.find_property(&property).await?.id;
            let sink = Sink::open(&value)?;
            let body = CreateClient { name, property_id, description, owners: owner, environments: env };
            let created: Result<Client, Failure> = api.send(Method::POST, "/clients", &body).await;
            match created {
                Ok(client) => hand_over_client(client, sink, remote.json),
                Err(failure) => {
                    sink.discard();
                    Err(failure)
                }
            }
        }
    }
}

fn hand_over_client(mut client: Client, sink: Sink, json: bool) -> Result<(), Failure> {
    let values: Vec<(String, String)> = client
        .registrations
        .iter_mut()
        .filter_map(|it| Some((it.environment.clone(), it.secret.as_ref()?.value.clone()?)))
        .collect();
    if sink.shows() && json {
        return output::json_value(&client);
    }
    if !sink.shows() {
        for registration in &mut client.registrations {
            if let Some(secret) = &mut registration.secret {
                secret.value = None;
            }
        }
    }
    shown_client(&client, json)?;
    if sink.shows() {
        let rows = values.into_iter().map(|(environment, value)| vec![environment, value]).collect();
        return output::table(&["environment", "secret"], rows);
    }
    match values.first() {
        Some((_, value)) => sink.put(value),
        None => {
            sink.discard();
            output::note("You may create this client, but not see its secret. Somebody who may reveals it.");
            Ok(())
        }
    }
}

fn shown_clients(clients: &[Client], json: bool) -> Result<(), Failure> {
    if json {
        return output::json(&clients);
    }
    let row = |it: &Client| {
        let environments: Vec<&str> = it.registrations.iter().map(|one| one.environment.as_str()).collect();
        vec![it.id.to_string(), it.name.clone(), environments.join(", "), it.owners.join(", ")]
    };
    output::table(&["id", "name", "environments", "owners"], clients.iter().map(row).collect())
}

fn shown_client(client: &Client, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(client);
    }
    let heading = format!("{}  {}  {}", client.id, client.name, client.description);
    output::data(&format!("{}\n", heading.trim_end()))?;
    let rows = client.registrations.iter().map(|it| {
        vec![
            it.environment.clone(),
            it.client_id.to_string(),
            if it.enabled { "enabled" } else { "disabled" }.to_owned(),
            it.scopes.join(" "),
            time(it.rotation_due_at),
        ]
    });
    output::table(&["environment", "client_id", "state", "scopes", "rotation due"], rows.collect())
}

/// `crossfade token list` and `delete`.
pub(crate) async fn token(command: RemoteToken) -> Result<(), Failure> {
    match command {
        RemoteToken::List(remote) => {
            let tokens: Vec<Token> = Api::new(&remote)?.list("/tokens", usize::MAX).await?;
            if remote.json {
                return output::json(&tokens);
            }
            let row = |it: Token| {
                vec![
                    it.id.to_string(),
                    it.name,
                    it.scope.map_or_else(|| "all".to_owned(), |words| words.join(" ")),
                    time(it.expires_at),
                    time(it.last_used_at),
                ]
            };
            output::table(
                &["id", "name", "scope", "expires", "last used"],
                tokens.into_iter().map(row).collect(),
            )
        }
        RemoteToken::Delete { token, remote } => {
            let _: () =
                Api::new(&remote)?.send(Method::DELETE, &format!("/tokens/{token}"), &json!({})).await?;
            output::note(&format!("The token {token} has ended."));
            Ok(())
        }
    }
}

/// `crossfade audit export`.
pub(crate) async fn audit(command: Audit) -> Result<(), Failure> {
    let Audit::Export { since, until, action, remote } = command;
    let api = Api::new(&remote)?;
    let filters = [("since", since), ("until", until), ("action", action)];
    let query: Vec<String> =
        filters.into_iter().filter_map(|(name, value)| Some(form_encode(name, &value?))).collect();
    let events: Vec<AuditEvent> = api.list(&format!("/audit-events?{}", query.join("&")), usize::MAX).await?;
    for event in events {
        let line = serde_json::to_string(&event).map_err(|error| Failure::failed(error.to_string()))?;
        output::data(&format!("{line}\n"))?;
    }
    Ok(())
}
