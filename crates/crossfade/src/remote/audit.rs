//! The commands under `crossfade audit`.

use super::{
    http::{Api, Stream, form_encode},
    names::Names,
};
use crate::{
    cli::{Audit, Failures, Filters, Moment, Remote},
    failure::Failure,
    output::{self, Lines, fixed, text, time},
    progress::while_waiting,
};
use crossfade_authority::Clock;
use crossfade_core::{
    api::{AuditEvent, AuthenticationFailure},
    audit::{Via, statement::SignedStatement},
};
use std::io::IsTerminal;

/// Runs the command.
pub(crate) async fn audit(command: Audit) -> Result<(), Failure> {
    match command {
        Audit::List { filters, limit, remote } => {
            let api = Api::new(&remote)?;
            let path = format!("/audit-events?{}", query(&api, filters).await?);
            let most = usize::try_from(limit).unwrap_or(usize::MAX);
            let events: Vec<AuditEvent> = api.list(&path, most).await?;
            shown(&api, events, remote.json).await
        }
        Audit::Export { filters, format, remote } => export(filters, &format, &remote).await,
        Audit::Checkpoint(remote) => {
            let checkpoint: SignedStatement = Api::new(&remote)?.get("/audit-events/checkpoint").await?;
            output::json(&checkpoint)
        }
        // Runs on this machine.
        Audit::Verify(args) => crate::verify::verify(*args).await,
        Audit::Failures(args) => failures(args).await,
    }
}

/// Exports the trail without keeping it in memory, because it may be larger than the memory of this machine.
async fn export(filters: Filters, format: &str, remote: &Remote) -> Result<(), Failure> {
    let api = Api::new(remote)?;
    let path = format!("/audit-events/export?format={format}&{}", query(&api, filters).await?);
    let answer = api.stream(&path).await?;
    match std::io::stdout().is_terminal() {
        // There the lines themselves are the sign of life.
        true => write(answer).await,
        false => while_waiting("Exporting the audit trail", write(answer)).await,
    }
}

async fn write(mut answer: Stream) -> Result<(), Failure> {
    let mut lines = Lines::default();
    while let Some(part) = answer.next().await? {
        if !lines.write(&part)? {
            return Ok(());
        }
    }
    lines.end()
}

async fn query(api: &Api, filters: Filters) -> Result<String, Failure> {
    let Filters { actor, action, client, env, since, until, outcome, via, via_kind } = filters;
    let actor = match actor {
        Some(address) if address.contains('@') => Some(api.find_user(&address).await?.to_string()),
        actor => actor,
    };
    let client = client_id(api, client).await?;
    let now = Clock::system().now();
    let time = |moment: Option<Moment>| moment.map(|moment| moment.resolve(now).to_string());
    Ok(joined([
        ("actor", actor),
        ("action", action),
        ("client", client),
        ("environment", env),
        ("since", time(since)),
        ("until", time(until)),
        ("outcome", outcome),
        ("via", via),
        ("via_kind", via_kind),
    ]))
}

async fn client_id(api: &Api, client: Option<String>) -> Result<Option<String>, Failure> {
    match client {
        Some(name) => Ok(Some(api.find_client_id(&name).await?.to_string())),
        None => Ok(None),
    }
}

fn joined<const N: usize>(filters: [(&str, Option<String>); N]) -> String {
    let given = filters.into_iter().filter_map(|(name, value)| Some(form_encode(name, &value?)));
    given.collect::<Vec<_>>().join("&")
}

async fn failures(args: Failures) -> Result<(), Failure> {
    let Failures { client, env, reason, since, limit, remote } = args;
    let api = Api::new(&remote)?;
    let client = client_id(&api, client).await?;
    let since = since.map(|since| since.resolve(Clock::system().now()).to_string());
    let filters = [("client", client), ("environment", env), ("reason", reason), ("since", since)];
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let failures: Vec<AuthenticationFailure> =
        api.list(&format!("/authentication-failures?{}", joined(filters)), most).await?;
    if remote.json {
        return output::json(&failures);
    }
    let or_dash = |it: Option<String>| it.unwrap_or_else(|| "-".to_owned());
    let (mut names, mut rows) = (Names::new(&api), Vec::new());
    for it in failures {
        let client = match it.client_id {
            Some(id) => names.name(id.as_str()).await,
            None => "-".to_owned(),
        };
        rows.push(vec![
            time(Some(it.last_at)),
            it.reason,
            client,
            or_dash(it.environment),
            or_dash(it.secret_id.map(|id| id.to_string())),
            it.source_ip.unwrap_or_else(|| "others".to_owned()),
            it.count.to_string(),
        ]);
    }
    output::table(
        &[
            fixed("last"),
            fixed("reason"),
            text("client"),
            fixed("environment"),
            fixed("secret"),
            fixed("from"),
            fixed("times"),
        ],
        rows,
    )
}

/// Returns the ID of a token or a session; otherwise the kind, because the column "who" has the name.
fn credential(via: &Via) -> String {
    match via {
        Via::Token { .. } | Via::Session { .. } => via.id().to_owned(),
        Via::Machine { .. } | Via::Policy { .. } => via.kind().to_owned(),
    }
}

async fn shown(api: &Api, events: Vec<AuditEvent>, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(&events);
    }
    let or_dash = |it: Option<String>| it.unwrap_or_else(|| "-".to_owned());
    let (mut names, mut rows) = (Names::new(api), Vec::new());
    for it in events {
        let about = match it.client_id.map(|id| id.to_string()).or(it.target) {
            Some(id) => names.name(&id).await,
            None => "-".to_owned(),
        };
        // Of a person, or of the program: why it was refused.
        let reason = it.reason.or_else(|| it.details["reason"].as_str().map(str::to_owned));
        rows.push(vec![
            time(Some(it.at)),
            it.actor.name().to_owned(),
            or_dash(it.via.as_ref().map(credential)),
            it.action,
            it.outcome,
            or_dash(it.environment),
            about,
            or_dash(reason),
        ]);
    }
    output::table(
        &[
            fixed("at"),
            text("who"),
            fixed("via"),
            fixed("action"),
            fixed("outcome"),
            fixed("environment"),
            text("about"),
            text("reason"),
        ],
        rows,
    )
}
