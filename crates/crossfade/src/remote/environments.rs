//! The commands under `crossfade env`.

use super::{
    confirm::{self, confirm_name},
    http::{Api, segment},
};
use crate::{
    cli::{CreateEnv, Env, RotateKey, UpdateEnv},
    failure::Failure,
    output::{self, fixed, text, time},
};
use crossfade_core::api::{CreateEnvironment, Environment, RotateSigningKey, SigningKey, UpdateEnvironment};
use crossfade_core::upstream::{Endpoint, Upstream};
use reqwest::Method;
use std::{fmt::Display, path::PathBuf};

/// Runs the command.
pub(crate) async fn environment(command: Env) -> Result<(), Failure> {
    match command {
        Env::List(remote) => {
            let environments: Vec<Environment> = Api::new(&remote)?.get("/environments").await?;
            if remote.json {
                return output::json(&environments);
            }
            shown(&environments)
        }
        Env::Show { environment, remote } => {
            one(Api::new(&remote)?.get(&path(&environment)).await?, remote.json)
        }
        Env::Create(CreateEnv { slug, name, kind, signing_alg, remote }) => {
            let name = name.unwrap_or_else(|| slug.clone());
            let body = CreateEnvironment { slug, name, kind, signing_alg };
            one(Api::new(&remote)?.send(Method::POST, "/environments", &body).await?, remote.json)
        }
        Env::Update(UpdateEnv { environment, change, confirm, remote }) => {
            let mut body = UpdateEnvironment {
                name: change.name,
                kind: change.kind,
                signing_alg: change.signing_alg,
                show_once: change.show_once,
                wipe_after_days: change.wipe_after_days,
                max_age_days: change.max_age_days.map(|days| days.0),
                guard_extension_hours: change.guard_extension_hours.map(|hours| hours.0),
                signing_key_rotation_days: change.signing_key_rotation_days.map(|days| days.0),
                issuer_mode: change.issuer_mode,
                upstream: change.upstream.map(read_upstream).transpose()?,
                unregistered_clients: change.unregistered_clients,
                adopt_until: change.adopt_until.map(|until| until.0),
                position: change.position,
                confirm_environment_slug: confirm,
            };
            let api = Api::new(&remote)?;
            let mut changed = api.send(Method::PATCH, &path(&environment), &body).await;
            // Only the server knows whether values are stored that this would destroy.
            if let Err(refused) = &changed
                && refused.asks_for("confirm_environment_slug")
                && body.confirm_environment_slug.is_none()
            {
                changed = match confirm::typed(refused.sentence(), "the environment's slug")? {
                    Some(typed) => {
                        body.confirm_environment_slug = Some(typed);
                        api.send(Method::PATCH, &path(&environment), &body).await
                    }
                    // As for every other confirmation that is missing.
                    None => changed.map_err(Failure::into_usage),
                };
            }
            one(changed?, remote.json)
        }
        Env::Delete { environment, confirm, remote } => {
            let api = Api::new(&remote)?;
            let found: Environment = api.get(&path(&environment)).await?;
            let sentence = format!(
                "This deletes the environment {} ({}), its issuer and its signing keys.",
                found.name, found.slug
            );
            confirm_name(confirm, &found.slug, &sentence, "the environment's slug")?;
            api.delete(&path(&environment)).await?;
            output::note(&format!("Deleted the environment {environment}."));
            Ok(())
        }
        Env::RotateKey(RotateKey { environment, reason, immediate, compromised, confirm, remote }) => {
            let api = Api::new(&remote)?;
            let path = format!("{}/signing-keys/rotate", path(&environment));
            let effect = match compromised {
                true => "ends every token that the old key signed",
                false => "signs with a key that resource servers may not have fetched yet",
            };
            if immediate || compromised {
                let sentence = format!("This {effect} in {environment}.");
                confirm_name(confirm, &environment, &sentence, "the environment's slug")?;
            }
            let body = RotateSigningKey { reason, immediate, compromised };
            shown_keys(api.send(Method::POST, &path, &body).await?, remote.json)
        }
        Env::Keys { environment, remote } => {
            let path = format!("{}/signing-keys", path(&environment));
            shown_keys(Api::new(&remote)?.get(&path).await?, remote.json)
        }
    }
}

/// Reads the issuer that an environment is in front of, as the API has it.
fn read_upstream(file: PathBuf) -> Result<Upstream, Failure> {
    let cannot = |error: &dyn Display| {
        Failure::usage(format!(
            "The file {} does not contain an upstream issuer: {error}. Nothing was changed. Write a JSON object with kind and \
            servers, each with name, issuer and token_endpoint.",
            file.display()
        ))
    };
    let text = std::fs::read(&file).map_err(|error| cannot(&error))?;
    serde_json::from_slice(&text).map_err(|error| cannot(&error))
}

fn path(environment: &str) -> String {
    format!("/environments/{}", segment(environment))
}

/// Prints one line per setting, because they are too many for one row.
fn one(environment: Environment, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(&environment);
    }
    let rows = settings(&environment).into_iter().map(|(name, value)| vec![name, value]).collect();
    output::table(&[fixed("setting"), fixed("value")], rows)
}

/// Returns the settings of an environment: what it signs, or what it is in front of.
fn settings(environment: &Environment) -> Vec<(String, String)> {
    let row = |name: &str, value: String| (name.to_owned(), value);
    let mut settings = vec![
        row("slug", environment.slug.clone()),
        row("name", environment.name.clone()),
        row("kind", environment.kind.as_str().to_owned()),
    ];
    match &environment.upstream {
        None => settings.extend([
            row("issuer", environment.issuer.clone()),
            row("issuer mode", environment.issuer_mode.as_str().to_owned()),
            row("signs", signs(environment)),
            row("signing keys", schedule(environment)),
        ]),
        Some(upstream) => settings.extend(front(environment, upstream)),
    }
    settings.extend([
        row("values", values(environment)),
        row("max age", max_age(environment)),
        row("guard", extension(environment)),
    ]);
    settings
}

/// Returns the settings of an environment in front of another issuer: what each of its servers has.
fn front(environment: &Environment, upstream: &Upstream) -> Vec<(String, String)> {
    let mode = format!("{}, {}", environment.issuer_mode.as_str(), upstream.kind.as_str());
    let mut settings = vec![
        ("issuer mode".to_owned(), mode),
        ("endpoints here".to_owned(), format!("{}/oauth2/…", environment.issuer)),
    ];
    for server in &upstream.servers {
        settings.push((format!("server {}", server.name), server.issuer.clone()));
        let endpoint = |at: Endpoint| Some((format!("  {}", at.path()), server.endpoint(at)?.to_owned()));
        settings.extend(Endpoint::ALL.into_iter().filter_map(endpoint));
    }
    let headers = match upstream.request_headers.is_empty() {
        true => "-".to_owned(),
        false => upstream.request_headers.join(", "),
    };
    let unregistered = environment.unregistered_clients.unwrap_or_default().as_str().to_owned();
    settings.push(("request headers".to_owned(), headers));
    let adopt_until = environment.adopt_until.map_or_else(|| "-".to_owned(), |until| until.to_string());
    settings.push(("unregistered clients".to_owned(), unregistered));
    settings.push(("adopt until".to_owned(), adopt_until));
    settings
}

/// Returns the algorithm, with the time from which it signs if another one still does.
fn signs(environment: &Environment) -> String {
    let Some(alg) = environment.signing_alg else { return "by the upstream issuer".to_owned() };
    let alg = alg.as_str();
    environment.signing_alg_from.map_or_else(|| alg.to_owned(), |from| format!("{alg} from {from}"))
}

fn shown(environments: &[Environment]) -> Result<(), Failure> {
    let row = |it: &Environment| {
        vec![
            it.slug.clone(),
            it.name.clone(),
            it.kind.as_str().to_owned(),
            signs(it),
            values(it),
            max_age(it),
            it.issuer.clone(),
        ]
    };
    output::table(
        &[
            fixed("slug"),
            text("name"),
            fixed("kind"),
            fixed("signs"),
            text("values"),
            fixed("max age"),
            text("issuer"),
        ],
        environments.iter().map(row).collect(),
    )
}

fn values(environment: &Environment) -> String {
    match environment.show_once {
        true => "shown once".to_owned(),
        false => format!("wiped {} d after the secret ends", environment.wipe_after_days),
    }
}

fn max_age(environment: &Environment) -> String {
    environment.max_age_days.map_or_else(|| "-".to_owned(), |days| format!("{days} d"))
}

fn extension(environment: &Environment) -> String {
    match environment.guard_extension_hours {
        Some(hours) => format!("warns, and extends by {hours} h"),
        None => "warns".to_owned(),
    }
}

fn schedule(environment: &Environment) -> String {
    let days = environment.signing_key_rotation_days;
    days.map_or_else(|| "rotated on request".to_owned(), |days| format!("rotated every {days} d"))
}

fn shown_keys(keys: Vec<SigningKey>, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(&keys);
    }
    let row = |it: SigningKey| {
        vec![it.kid, it.alg.as_str().to_owned(), time(Some(it.active_from)), time(it.removed_at)]
    };
    output::table(
        &[fixed("kid"), fixed("alg"), fixed("signs from"), fixed("published until")],
        keys.into_iter().map(row).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_environment_in_front_of_an_issuer_shows_its_endpoints_and_no_keys() {
        let mut environment = json!({
            "slug": "partners", "name": "Partners", "kind": "live", "issuer": "https://cf.example/env/partners",
            "issuer_mode": "upstream", "unregistered_clients": "pass", "show_once": false, "wipe_after_days": 30,
            "upstream": {"kind": "okta", "request_headers": ["x-tenant"], "servers": [{
                "name": "default", "issuer": "https://id.example", "token_endpoint": "https://id.example/token",
                "revocation_endpoint": "https://id.example/revoke"}]},
        });
        let read = |environment: &serde_json::Value| {
            let environment: Environment = serde_json::from_value(environment.clone()).unwrap();
            settings(&environment)
        };
        let front = read(&environment);
        for (name, value) in [
            ("issuer mode", "upstream, okta"),
            ("endpoints here", "https://cf.example/env/partners/oauth2/…"),
            ("server default", "https://id.example"),
            ("  token", "https://id.example/token"),
            ("  revoke", "https://id.example/revoke"),
            ("request headers", "x-tenant"),
            ("unregistered clients", "pass"),
        ] {
            assert!(front.contains(&(name.to_owned(), value.to_owned())), "{name}: {front:?}");
        }
        let has = |settings: &[(String, String)], name: &str| settings.iter().any(|(own, _)| own == name);
        assert!(
            !["issuer", "signs", "signing keys", "  par"].iter().any(|name| has(&front, name)),
            "{front:?}"
        );
        environment["issuer_mode"] = "own".into();
        environment["upstream"] = serde_json::Value::Null;
        environment["unregistered_clients"] = serde_json::Value::Null;
        environment["signing_alg"] = "ES256".into();
        let own = read(&environment);
        assert!(["issuer", "signs", "signing keys"].iter().all(|name| has(&own, name)), "{own:?}");
        assert!(!has(&own, "endpoints here") && !has(&own, "unregistered clients"), "{own:?}");
    }
}
