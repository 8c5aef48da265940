//! The commands under `crossfade upstream`.

use super::http::{Api, segment};
use crate::{
    cli::{Place, SetUpstream, Upstream as Command},
    failure::Failure,
    output::{self, fixed, text, time},
};
use crossfade_core::{
    OauthClientId,
    api::{
        ReleaseUpstreamCredential, TestUpstreamCredential, UnregisteredClient, UpdateUpstreamCredential,
        UpstreamCredential, UpstreamCredentialTested, UpstreamRelease,
    },
    upstream::{BasicEncoding, MAX_SECRET, TestOutcome},
};
use reqwest::Method;
use std::{
    io::Read,
    path::{Path, PathBuf},
};

/// Runs the command.
pub(crate) async fn upstream(command: Command) -> Result<(), Failure> {
    match command {
        Command::Show { place, remote } => {
            let api = Api::new(&remote)?;
            shown(&api.get(&path(&api, &place).await?).await?, remote.json)
        }
        Command::Set(SetUpstream { place, change, remote }) => {
            let body = UpdateUpstreamCredential {
                method: change.method,
                secret: change.secret_file.map(read).transpose()?,
                next: match (change.next_file, change.no_next) {
                    (Some(file), _) => Some(Some(read(file)?)),
                    (None, true) => Some(None),
                    (None, false) => None,
                },
            };
            let api = Api::new(&remote)?;
            let path = path(&api, &place).await?;
            shown(&api.send(Method::PUT, &path, &body).await?, remote.json)
        }
        Command::Unregistered { env, remote } => {
            let path = format!("/environments/{}/unregistered-clients", segment(&env));
            unregistered(&Api::new(&remote)?.list(&path, usize::MAX).await?, remote.json)
        }
        Command::Release { place, remote } => {
            let api = Api::new(&remote)?;
            let path = format!("{}/release", path(&api, &place).await?);
            released(&api.send(Method::POST, &path, &ReleaseUpstreamCredential {}).await?, remote.json)
        }
        Command::Test { place, remote } => {
            let api = Api::new(&remote)?;
            let path = format!("{}/test", path(&api, &place).await?);
            tested(&api.send(Method::POST, &path, &TestUpstreamCredential {}).await?, remote.json)
        }
    }
}

async fn path(api: &Api, place: &Place) -> Result<String, Failure> {
    let client = api.find_client(&place.client).await?;
    Ok(format!("/clients/{}/environments/{}/upstream-credential", client.id, segment(&place.env)))
}

/// Prints the clients that are not registered, and the sum of all other requests.
fn unregistered(clients: &[UnregisteredClient], json: bool) -> Result<(), Failure> {
    if json {
        return output::json(&clients);
    }
    let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    let row = |client_id: &OauthClientId, it: &UnregisteredClient| {
        let methods: Vec<_> = it.authentication_methods.iter().map(|method| method.as_str()).collect();
        let sources: Vec<_> = it.sources.iter().map(|source| source.source_ip.as_str()).collect();
        vec![
            client_id.to_string(),
            or_dash(methods.join(", ")),
            it.accepted_count.to_string(),
            it.refused_count.to_string(),
            it.failed_count.to_string(),
            it.last_status.map_or_else(|| "-".to_owned(), |status| status.to_string()),
            time(it.last_token_at),
            or_dash(sources.join(", ")),
        ]
    };
    let named = clients.iter().filter_map(|it| it.client_id.as_ref().map(|client_id| row(client_id, it)));
    let heads = [
        text("client_id"),
        text("authentication"),
        fixed("accepted"),
        fixed("refused"),
        fixed("failed"),
        fixed("last status"),
        fixed("last token"),
        text("addresses"),
    ];
    output::table(&heads, named.collect())?;
    for sum in clients.iter().filter(|it| it.client_id.is_none()) {
        output::note(&format!(
            "All other requests since {}: {} accepted, {} refused, {} failed.",
            time(Some(sum.first_seen_at)),
            sum.accepted_count,
            sum.refused_count,
            sum.failed_count
        ));
    }
    Ok(())
}

/// Reads a secret without the end of its last line.
fn read(file: PathBuf) -> Result<String, Failure> {
    let read = |from: &mut dyn Read| {
        let mut text = String::new();
        from.take(MAX_SECRET as u64 + 3).read_to_string(&mut text)?;
        Ok::<_, std::io::Error>(text.trim_end_matches(['\r', '\n']).to_owned())
    };
    let result = match file == Path::new("-") {
        true => read(&mut std::io::stdin().lock()),
        false => std::fs::File::open(&file).and_then(|mut file| read(&mut file)),
    };
    result.map_err(|error| {
        Failure::failed(format!("Cannot read the file {}: {error}. Nothing was changed.", file.display()))
    })
}

fn shown(credential: &UpstreamCredential, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(credential);
    }
    let rows = credential.slots.iter().map(|slot| {
        vec![
            slot.slot.as_str().to_owned(),
            slot.state.as_str().to_owned(),
            time(Some(slot.set_at)),
            time(slot.last_ok_at),
            slot.last_error.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    });
    let heads = [fixed("slot"), fixed("state"), fixed("set"), fixed("last accepted"), text("last refusal")];
    output::table(&heads, rows.collect())?;
    if let Some(method) = credential.method.filter(|_| !credential.confirmed_origins.is_empty()) {
        output::note(&format!("Sent as {} to {}.", method.as_str(), credential.confirmed_origins.join(", ")));
    }
    if let Some(since) = credential.refused_since {
        output::note(&format!(
            "The issuer refuses it since {}: callers get no tokens until it accepts a secret.",
            time(Some(since))
        ));
    }
    if !credential.unconfirmed_origins.is_empty() {
        output::note(&format!(
            "Not sent to {} until you {}.",
            credential.unconfirmed_origins.join(", "),
            match credential.method {
                Some(_) => "confirm it: crossfade upstream set … --confirm-servers",
                None => "set it: crossfade upstream set … --secret-file FILE",
            }
        ));
    }
    Ok(())
}

/// Prints what the issuer said. Fails if it accepts no secret.
fn tested(tested: &UpstreamCredentialTested, json: bool) -> Result<(), Failure> {
    if json {
        output::json(tested)?;
    } else {
        let rows = tested.slots.iter().map(|slot| {
            let response = slot.response.clone().unwrap_or_else(|| "-".to_owned());
            vec![slot.slot.as_str().to_owned(), slot.outcome.as_str().to_owned(), response]
        });
        output::table(&[fixed("slot"), fixed("outcome"), text("response")], rows.collect())?;
        if let Some(server) = &tested.server {
            output::note(&format!("Tested at the server {server}."));
        }
        if tested.basic_encoding == Some(BasicEncoding::Raw) {
            output::note(
                "The issuer decodes nothing in the Authorization header, so the credential is sent as it is.",
            );
        }
    }
    let is_any = |outcome| tested.slots.iter().any(|slot| slot.outcome == outcome);
    let found = match () {
        () if is_any(TestOutcome::Accepted) => return Ok(()),
        () if tested.slots.is_empty() => {
            "No upstream credential is set. Set it with crossfade upstream set … --secret-file FILE."
        }
        () if is_any(TestOutcome::Refused) => "The issuer accepts no secret of this upstream credential.",
        () if tested.server.is_none() => {
            "Nothing was sent, because the credential is not confirmed for the servers. Confirm it with crossfade upstream \
            set … --confirm-servers."
        }
        () => "The response of the issuer does not say whether it accepts a secret.",
    };
    Err(Failure::failed(found.to_owned()))
}

fn released(release: &UpstreamRelease, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(release);
    }
    let mut text = String::new();
    for (number, step) in (1..).zip(&release.steps) {
        text.push_str(&format!("{number}. {step}\n"));
    }
    if let Some(command) = &release.command {
        text.push_str(&format!("\n{command}\n"));
    }
    output::data(&text)
}
