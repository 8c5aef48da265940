//! The commands under `crossfade messages` and `crossfade client messages`.

use super::{confirm::confirmed, http::Api};
use crate::{
    cli::{ClientMessages as OfClient, Messages as Own},
    failure::Failure,
    output::{self, fixed, text},
};
use crossfade_core::{
    api::{ClientMessages, MessageKind, OwnMessages, UpdateClientMessages, UpdateOwnMessages},
    messages::{Switch, stops_more},
};
use reqwest::Method;

const OWN: &str = "/me/messages";

/// Runs a command under `crossfade messages`.
pub(crate) async fn messages(command: Own) -> Result<(), Failure> {
    match command {
        Own::Show(remote) => shown_own(&Api::new(&remote)?.get(OWN).await?, remote.json),
        Own::Set { change, remote } => {
            let api = Api::new(&remote)?;
            // What is not named stays as it is.
            let now: OwnMessages = api.get(OWN).await?;
            let off = if change.all_on || !change.off.is_empty() { change.off } else { now.off };
            let time_zone = change.time_zone.or(now.time_zone);
            let body = UpdateOwnMessages { time_zone, off };
            shown_own(&api.send(Method::PUT, OWN, &body).await?, remote.json)
        }
    }
}

/// Runs a command under `crossfade client messages`.
pub(super) async fn of_client(command: OfClient) -> Result<(), Failure> {
    match command {
        OfClient::Show { client, remote } => {
            let api = Api::new(&remote)?;
            let path = format!("/clients/{}/messages", api.find_client(&client).await?.id);
            shown_of_client(&api.get(&path).await?, remote.json)
        }
        OfClient::Set { client, switches, confirm, reason, remote } => {
            let api = Api::new(&remote)?;
            let client = api.find_client(&client).await?;
            let path = format!("/clients/{}/messages", client.id);
            let now: ClientMessages = api.get(&path).await?;
            let parsed =
                |words: &[String]| words.iter().filter_map(|word| Switch::parse(word)).collect::<Vec<_>>();
            let stops = stops_more(&parsed(&now.off), &parsed(&switches.off));
            let confirm_client_name = match confirm {
                None if stops => {
                    let what = format!("switches off messages to all owners of {}", client.name);
                    Some(confirmed(None, &what)?)
                }
                given => given,
            };
            let body = UpdateClientMessages { off: switches.off, confirm_client_name, reason };
            shown_of_client(&api.send(Method::PUT, &path, &body).await?, remote.json)
        }
    }
}

fn shown_own(messages: &OwnMessages, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(messages);
    }
    output::note(&format!("Time zone: {}.", messages.time_zone.as_deref().unwrap_or("UTC")));
    shown(&messages.kinds)
}

fn shown_of_client(messages: &ClientMessages, json: bool) -> Result<(), Failure> {
    if json { output::json(messages) } else { shown(&messages.kinds) }
}

fn shown(kinds: &[MessageKind]) -> Result<(), Failure> {
    let row = |it: &MessageKind| {
        let sent = match (it.is_sent, it.can_be_off) {
            (_, false) => "always",
            (true, true) => "on",
            (false, true) => "off",
        };
        vec![it.kind.as_str().to_owned(), it.class.as_str().to_owned(), sent.to_owned(), it.title.clone()]
    };
    output::table(
        &[fixed("kind"), fixed("class"), fixed("sent"), text("about")],
        kinds.iter().map(row).collect(),
    )
}
