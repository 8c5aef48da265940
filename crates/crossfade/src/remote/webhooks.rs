//! The commands under `crossfade webhook`.

use super::{
    confirm::{confirm_name, confirmed_name},
    http::Api,
    names::Names,
};
use crate::{
    cli::{CreateWebhook as Create, SigningSecret, UpdateWebhook as Update, Webhook as Command},
    failure::Failure,
    output::{self, SIGNING_SECRET, Sink, fixed, text, time},
};
use crossfade_core::{
    WebhookId,
    api::{
        CreateWebhook, DeliveryStatus, ReplayDelivery, RotateWebhookSecret, TestWebhook, UpdateWebhook,
        Webhook, WebhookDelivery,
    },
    webhook::DisabledAs,
};
use reqwest::Method;
use std::{
    io::Read,
    path::{Path, PathBuf},
};

/// Maximum number of bytes of a URL or a key that is read.
const MAX_READ: u64 = 4096;

/// Runs the command.
pub(crate) async fn webhook(command: Command) -> Result<(), Failure> {
    match command {
        Command::List(remote) => {
            let api = Api::new(&remote)?;
            let webhooks: Vec<Webhook> = api.list("/webhooks", usize::MAX).await?;
            match remote.json {
                true => output::json(&webhooks),
                false => shown(&api, webhooks).await,
            }
        }
        Command::Show { webhook, remote } => {
            let api = Api::new(&remote)?;
            let found = find(&api, &webhook).await?;
            one(&api, found, remote.json).await
        }
        Command::Create(args) => create(args).await,
        Command::Update(args) => update(args).await,
        Command::Delete { webhook, confirm, remote } => {
            let api = Api::new(&remote)?;
            let found = find(&api, &webhook).await?;
            let sentence = format!("This deletes the webhook {} and its deliveries.", found.name);
            confirm_name(confirm, &found.name, &sentence, "the webhook's name")?;
            api.delete(&path(&found)).await?;
            output::note(&format!("Deleted the webhook {} and its deliveries.", found.name));
            Ok(())
        }
        Command::RotateSecret { webhook, overlap, end_running_overlap, secret, remote } => {
            let api = Api::new(&remote)?;
            let found = find(&api, &webhook).await?;
            let body =
                RotateWebhookSecret { overlap_hours: Some(overlap.hours().into()), end_running_overlap };
            let path = format!("{}/rotate-secret", path(&found));
            let request = api.send::<Webhook>(Method::POST, &path, &body);
            let (sink, webhook) = open(&secret, request).await?;
            hand_over(&api, webhook, sink, remote.json).await
        }
        Command::Deliveries { webhook, limit, remote } => {
            let api = Api::new(&remote)?;
            let found = find(&api, &webhook).await?;
            let deliveries: Vec<WebhookDelivery> =
                api.list(&format!("{}/deliveries", path(&found)), limit).await?;
            match remote.json {
                true => output::json(&deliveries),
                false => shown_deliveries(deliveries),
            }
        }
        Command::Replay { webhook, delivery, remote } => {
            let api = Api::new(&remote)?;
            let found = find(&api, &webhook).await?;
            let path = format!("{}/deliveries/{}/replay", path(&found), super::http::segment(&delivery));
            queued(api.send(Method::POST, &path, &ReplayDelivery {}).await?, remote.json)
        }
        Command::Test { webhook, remote } => {
            let api = Api::new(&remote)?;
            let found = find(&api, &webhook).await?;
            queued(
                api.send(Method::POST, &format!("{}/test", path(&found)), &TestWebhook {}).await?,
                remote.json,
            )
        }
    }
}

async fn create(args: Create) -> Result<(), Failure> {
    let Create { name, to, client, property, env, event, format, routing_key_file, confirm, secret, remote } =
        args;
    let api = Api::new(&remote)?;
    let client = match client {
        Some(client) => Some(api.find_client(&client).await?),
        None => None,
    };
    let property = match property {
        Some(property) => Some(api.find_property(&property).await?),
        None => None,
    };
    let (whose, whose_name) = match (&client, &property) {
        (Some(client), _) => (client.name.clone(), "the client's name"),
        (None, Some(property)) => (property.name.clone(), "the property's name"),
        (None, None) => ("the platform".to_owned(), "the word platform"),
    };
    let what = format!("sends the messages of {whose} to a URL");
    let body = CreateWebhook {
        name,
        url: to.map(read_url).transpose()?,
        property_id: property.map(|property| property.id),
        client_id: client.map(|client| client.id),
        environments: env,
        events: event,
        format,
        routing_key: routing_key_file.map(read_key).transpose()?,
        confirm_name: confirmed_name(confirm, &what, whose_name)?,
    };
    let request = api.send::<Webhook>(Method::POST, "/webhooks", &body);
    let (sink, webhook) = open(&secret, request).await?;
    hand_over(&api, webhook, sink, remote.json).await
}

async fn update(args: Update) -> Result<(), Failure> {
    let Update { webhook, change, confirm, remote } = args;
    let api = Api::new(&remote)?;
    let found = find(&api, &webhook).await?;
    let url = change.to.map(read_url).transpose()?;
    let routing_key = change.routing_key_file.map(read_key).transpose()?;
    let list = |all: bool, list: Vec<String>| (all || !list.is_empty()).then_some(list);
    let environments = list(change.all_environments, change.env);
    let events = list(change.all_events, change.event);
    let is_redirected = url.as_ref().is_some_and(|url| *url != found.url) || routing_key.is_some();
    let is_wider = widens(&found.environments, &environments) || widens(&found.events, &events);
    let confirm_name = match confirm {
        None if is_redirected || is_wider => {
            let what = match is_redirected {
                true => format!("redirects the messages of the webhook {}", found.name),
                false => format!("sends more messages to the webhook {}", found.name),
            };
            let whose_name = "the name of the client or property, or the word platform";
            Some(confirmed_name(None, &what, whose_name)?)
        }
        given => given,
    };
    let body = UpdateWebhook {
        name: change.name,
        url,
        environments,
        events,
        routing_key,
        enabled: match (change.enable, change.disable) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        },
        confirm_name,
    };
    one(&api, api.send(Method::PATCH, &path(&found), &body).await?, remote.json).await
}

/// Whether a new choice includes more than the one before it. An empty one is everything.
fn widens(before: &[String], after: &Option<Vec<String>>) -> bool {
    let includes_more =
        |after: &Vec<String>| after.is_empty() || after.iter().any(|one| !before.contains(one));
    !before.is_empty() && after.as_ref().is_some_and(includes_more)
}

fn path(webhook: &Webhook) -> String {
    format!("/webhooks/{}", webhook.id)
}

/// Returns the webhook with this id or this name.
async fn find(api: &Api, name: &str) -> Result<Webhook, Failure> {
    if WebhookId::parse(name).is_ok() {
        return api.get(&format!("/webhooks/{name}")).await;
    }
    let webhooks: Vec<Webhook> = api.list("/webhooks", usize::MAX).await?;
    let mut named = webhooks.into_iter().filter(|webhook| webhook.name == name);
    match (named.next(), named.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(Failure::not_found(format!("No webhook that you can manage is named {name}."))),
        (Some(one), Some(two)) => Err(Failure::failed(format!(
            "More than one webhook is named {name}. Use an ID instead: {}, {}, …",
            one.id, two.id
        ))),
    }
}

/// Reads a URL from stdin if it is `-`.
fn read_url(url: String) -> Result<String, Failure> {
    if url != "-" {
        return Ok(url);
    }
    let mut text = String::new();
    let read = std::io::stdin().lock().take(MAX_READ).read_to_string(&mut text);
    read.map_err(|error| Failure::failed(format!("Cannot read the URL from stdin: {error}.")))?;
    Ok(text.trim().to_owned())
}

fn read_key(file: PathBuf) -> Result<String, Failure> {
    let read = |path: &Path| {
        let mut text = String::new();
        std::fs::File::open(path)?.take(MAX_READ).read_to_string(&mut text)?;
        Ok::<_, std::io::Error>(text.trim().to_owned())
    };
    read(&file).map_err(|error| Failure::failed(format!("Cannot read the file {}: {error}.", file.display())))
}

async fn open(
    secret: &SigningSecret,
    request: impl Future<Output = Result<Webhook, Failure>>,
) -> Result<(Sink, Webhook), Failure> {
    Sink::around(secret.output.as_deref(), request).await
}

/// Hands the signing secret over, and shows the webhook.
async fn hand_over(api: &Api, mut webhook: Webhook, sink: Sink, json: bool) -> Result<(), Failure> {
    let shows = sink.shows();
    if shows && json {
        return output::json_value(&webhook, &SIGNING_SECRET);
    }
    let Some(secret) = webhook.signing_secret.take() else {
        sink.discard();
        return Err(SIGNING_SECRET.not_given());
    };
    sink.put(&secret, &SIGNING_SECRET)?;
    if let Some(until) = webhook.previous_secret_expires_at {
        output::note(&format!("The earlier signing secret signs as well until {}.", time(Some(until))));
    }
    match shows {
        true => output::note(&format!("The webhook is {}.", webhook.id)),
        false => one(api, webhook, json).await?,
    }
    Ok(())
}

/// Shows a webhook with everything that it has chosen.
async fn one(api: &Api, webhook: Webhook, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(&webhook);
    }
    let all_or = |list: &[String]| if list.is_empty() { "all".to_owned() } else { list.join(", ") };
    let (environments, events) = (all_or(&webhook.environments), all_or(&webhook.events));
    let until = webhook.previous_secret_expires_at;
    shown(api, vec![webhook]).await?;
    output::table(
        &[text("environments"), text("events"), fixed("earlier secret signs until")],
        vec![vec![environments, events, time(until)]],
    )
}

async fn shown(api: &Api, webhooks: Vec<Webhook>) -> Result<(), Failure> {
    let (mut names, mut rows) = (Names::new(api), Vec::new());
    for it in webhooks {
        // A server of an earlier version sends the ID alone.
        let about = match (it.client_name.or(it.property_name), &it.client_id, &it.property_id) {
            (Some(name), ..) => name,
            (None, Some(client), _) => names.name(client.as_str()).await,
            (None, None, Some(property)) => names.name(property.as_str()).await,
            (None, None, None) => "platform".to_owned(),
        };
        let state = match (it.disabled_as, it.failing_since) {
            (Some(DisabledAs::Disabled), _) => "disabled".to_owned(),
            (Some(reason), _) => format!("disabled ({})", reason.as_str()),
            (None, Some(since)) => format!("failing since {}", time(Some(since))),
            (None, None) => "enabled".to_owned(),
        };
        rows.push(vec![it.id.to_string(), it.name, about, it.format.as_str().to_owned(), it.url, state]);
    }
    let columns = [fixed("id"), text("name"), text("about"), fixed("format"), text("url"), text("state")];
    output::table(&columns, rows)
}

fn queued(delivery: WebhookDelivery, json: bool) -> Result<(), Failure> {
    match json {
        true => output::json(&delivery),
        false => shown_deliveries(vec![delivery]),
    }
}

fn shown_deliveries(deliveries: Vec<WebhookDelivery>) -> Result<(), Failure> {
    let row = |it: WebhookDelivery| {
        let status = match (it.status, it.abandoned_as) {
            (DeliveryStatus::Queued, _) => "queued".to_owned(),
            (DeliveryStatus::Sent, _) => "sent".to_owned(),
            (DeliveryStatus::Abandoned, reason) => format!("abandoned ({})", reason.unwrap_or_default()),
        };
        let answer =
            it.last_status.map_or_else(|| it.last_error.unwrap_or_default(), |code| code.to_string());
        let took = it.last_duration_ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms"));
        vec![
            it.id.to_string(),
            it.event,
            time(Some(it.created_at)),
            status,
            it.attempts.to_string(),
            if answer.is_empty() { "-".to_owned() } else { answer },
            took,
        ]
    };
    let columns = [
        fixed("id"),
        fixed("event"),
        fixed("queued"),
        fixed("status"),
        fixed("attempts"),
        text("answer"),
        fixed("took"),
    ];
    output::table(&columns, deliveries.into_iter().map(row).collect())
}
