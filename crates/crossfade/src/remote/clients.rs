//! The commands under `crossfade client`.

use super::{
    confirm::confirmed,
    http::{Api, form_encode},
    messages,
    secrets::note_enforced,
};
use crate::{
    cli::{Client as Command, CreateClient as Create, Place, UpdateClient as Update},
    failure::Failure,
    output::{self, SECRET, Sink, fixed, text, time},
};
use crossfade_core::{
    api::{
        Client, ClientDeleted, CreateClient, CreateRegistration, DeleteClient, Property, Registration,
        UpdateClient,
    },
    owners::OwnerKind,
};
use reqwest::Method;

/// Runs the command.
pub(crate) async fn client(command: Command) -> Result<(), Failure> {
    match command {
        Command::List { q, property, env, overdue, ownerless, without_secret, remote } => {
            let api = Api::new(&remote)?;
            let property = match property {
                Some(name) => Some(api.find_property(&name).await?.id.to_string()),
                None => None,
            };
            let flags = [overdue, ownerless, without_secret].map(|only| only.then(|| "true".to_owned()));
            let [overdue, ownerless, without_secret] = flags;
            let filters = [
                ("q", q),
                ("property_id", property),
                ("environment", env),
                ("overdue", overdue),
                ("ownerless", ownerless),
                ("without_secret", without_secret),
            ];
            let query: Vec<String> =
                filters.into_iter().filter_map(|(name, value)| Some(form_encode(name, &value?))).collect();
            let clients: Vec<Client> = api.list_readable(&format!("/clients?{}", query.join("&"))).await?;
            shown_clients(&clients, remote.json)
        }
        Command::Show { client, remote } => {
            let api = Api::new(&remote)?;
            let client = api.find_client(&client).await?;
            shown_client(&api, &client, remote.json).await
        }
        Command::Create(args) => create(args).await,
        Command::Update(Update { client, change, confirm, remote }) => {
            let api = Api::new(&remote)?;
            let client = api.find_client(&client).await?;
            let path = format!("/clients/{}", client.id);
            let owners = (change.no_owners || !change.owner.is_empty()).then_some(change.owner);
            let changes_owners = owners.as_ref().is_some_and(|owners| *owners != client.owners);
            let confirm_client_name = match confirm {
                None if changes_owners => {
                    let what =
                        format!("changes the owners of {}, who receive its notifications", client.name);
                    Some(confirmed(None, &what)?)
                }
                given => given,
            };
            let (name, description) = (change.name, change.description);
            let body = UpdateClient { name, description, owners, confirm_client_name };
            let changed: Client = api.send(Method::PATCH, &path, &body).await?;
            shown_client(&api, &changed, remote.json).await
        }
        Command::Delete { client, confirm, reason, remote } => {
            let api = Api::new(&remote)?;
            let client = api.find_client(&client).await?;
            let what = format!("deletes {} and ends its secrets and tokens immediately", client.name);
            let body = DeleteClient { confirm_client_name: confirmed(confirm, &what)?, reason };
            // A server of an earlier version answers without a body.
            let deleted: Option<ClientDeleted> =
                api.send(Method::DELETE, &format!("/clients/{}", client.id), &body).await?;
            output::note(&format!(
                "Deleted the client {}. Its secrets and tokens no longer work.",
                client.name
            ));
            note_enforced(deleted.and_then(|it| it.enforced).as_ref());
            Ok(())
        }
        Command::Messages(command) => messages::of_client(command).await,
        Command::Register { place: Place { client, env }, client_id, adopt, value, remote } => {
            let api = Api::new(&remote)?;
            let client = api.find_client(&client).await?;
            let path = format!("/clients/{}/environments", client.id);
            let require_value = !value.no_value;
            let body = CreateRegistration { environment: env, client_id, adopt, require_value };
            let request = api.send::<Registration>(Method::POST, &path, &body);
            let (sink, registration) = Sink::for_new(&value, request).await?;
            hand_over(&api, Client { registrations: vec![registration], ..client }, sink, remote.json).await
        }
    }
}

async fn create(args: Create) -> Result<(), Failure> {
    let Create { name, property, env, client_id, adopt, owner, description, value, remote } = args;
    if value.output.is_some() && env.len() != 1 {
        return Err(Failure::usage(
            "--output can hold one value only. Nothing was changed. Create the client in a single \
            environment, or set --show or --no-value.",
        ));
    }
    let api = Api::new(&remote)?;
    let property_id = api.find_property(&property).await?.id;
    let require_value = !value.no_value;
    let body = CreateClient {
        name,
        property_id,
        description,
        owners: owner,
        environments: env,
        client_id,
        adopt,
        require_value,
    };
    let request = api.send::<Client>(Method::POST, "/clients", &body);
    let (sink, client) = Sink::for_new(&value, request).await?;
    hand_over(&api, client, sink, remote.json).await
}

async fn hand_over(api: &Api, mut client: Client, sink: Sink, json: bool) -> Result<(), Failure> {
    let values: Vec<(String, String)> = client
        .registrations
        .iter_mut()
        .filter_map(|it| Some((it.environment.clone(), it.secret.as_ref()?.value.clone()?)))
        .collect();
    if sink.shows() && json {
        return output::json_value(&client, &SECRET);
    }
    let lost = values.is_empty() && !sink.is_closed();
    // The values first: everything else can be asked for again.
    match (sink, values.first()) {
        (Sink::Closed, _) => {}
        (Sink::Show, Some(_)) => {
            let rows = values.into_iter().map(|(environment, value)| vec![environment, value]).collect();
            output::table_of_values(&[fixed("environment"), fixed("secret")], rows, &SECRET)?;
            output::data("\n")?;
        }
        (sink @ (Sink::File(..) | Sink::Next { .. }), Some((_, value))) => sink.put(value, &SECRET)?,
        (sink, None) => sink.discard(),
    }
    for registration in &mut client.registrations {
        if let Some(secret) = &mut registration.secret {
            secret.value = None;
        }
    }
    shown_client(api, &client, json).await?;
    match lost {
        true => Err(SECRET.not_given()),
        false => Ok(()),
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
    output::table(
        &[fixed("id"), text("name"), text("environments"), text("owners")],
        clients.iter().map(row).collect(),
    )
}

/// Returns the owners with what each is, such as `grace@example.com (user)` or `Alerts (webhook wh_…)`.
fn owners(client: &Client) -> String {
    let kind = |owner: &String| {
        let known = client.owner_details.iter().find(|it| it.owner == *owner);
        match known.and_then(|it| Some((it.kind?, it.name.as_ref()))) {
            Some((OwnerKind::Webhook, Some(name))) => format!("{name} (webhook {owner})"),
            Some((kind, _)) => format!("{owner} ({})", kind.as_str()),
            None => owner.clone(),
        }
    };
    client.owners.iter().map(kind).collect::<Vec<_>>().join(", ")
}

/// Returns the state of a registration, and why it has no secret yet.
fn state(registration: &Registration) -> String {
    let enabled = if registration.enabled { "enabled" } else { "disabled" };
    match registration.adoption {
        None => enabled.to_owned(),
        Some(adoption) => format!("{enabled}, no secret: {}", adoption.as_str().replace('_', " ")),
    }
}

async fn shown_client(api: &Api, client: &Client, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(client);
    }
    // A caller who can read only one client cannot read its property.
    let property: Option<Property> = api.get(&format!("/properties/{}", client.property_id)).await.ok();
    let property = property.map_or_else(|| client.property_id.to_string(), |property| property.name);
    let about = vec![
        client.id.to_string(),
        client.name.clone(),
        property,
        owners(client),
        client.description.clone(),
    ];
    output::table(
        &[fixed("id"), text("name"), text("property"), text("owners"), text("description")],
        vec![about],
    )?;
    output::data("\n")?;
    let rows = client.registrations.iter().map(|it| {
        vec![
            it.environment.clone(),
            it.client_id.to_string(),
            state(it),
            it.scopes.as_ref().map_or("-".to_owned(), |scopes| scopes.join(" ")),
            time(it.rotation_due_at),
        ]
    });
    output::table(
        &[fixed("environment"), fixed("client_id"), fixed("state"), text("scopes"), fixed("rotation due")],
        rows.collect(),
    )
}
