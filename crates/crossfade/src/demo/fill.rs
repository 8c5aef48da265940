//! Fills the instance through its API, and registers the client that the story is about.

use crate::{failure::Failure, output, remote::Api};
use crossfade_core::api::{Client, CreateClient, Property, PropertyBody, RevealedSecret};
use reqwest::Method;

/// The client that the story is about.
pub(super) const CLIENT: &str = "Billing API";
/// Where it is rotated.
pub(super) const ENVIRONMENT: &str = "production";

struct Seed {
    property: &'static str,
    name: &'static str,
    description: &'static str,
    environments: &'static [&'static str],
}

const ALL: &[&str] = &["development", "staging", "production"];
const LATE: &[&str] = &["staging", "production"];

#[rustfmt::skip]
const SEEDS: &[Seed] = &[
    Seed { property: "Payments", name: CLIENT, description: "Charges cards and writes invoices", environments: ALL },
    Seed { property: "Payments", name: "Payout worker", description: "Pays merchants every night", environments: LATE },
    Seed { property: "Payments", name: "Fraud scoring", description: "Scores payments before they are taken", environments: LATE },
    Seed { property: "Storefront", name: "Search indexer", description: "Feeds the search of the shop", environments: ALL },
    Seed { property: "Storefront", name: "Mail sender", description: "Sends receipts", environments: LATE },
    Seed { property: "Data platform", name: "Nightly export", description: "Copies orders to the warehouse", environments: LATE },
];

/// The registration that the story is about.
pub(super) struct Registered {
    /// Its client.
    pub(super) client: Client,
    /// The OAuth `client_id`.
    pub(super) client_id: String,
    /// Its first secret.
    pub(super) secret: RevealedSecret,
}

/// Creates properties and clients.
pub(super) async fn fill(api: &Api) -> Result<Registered, Failure> {
    let missing = || Failure::failed(format!("The server did not register {CLIENT} in {ENVIRONMENT}."));
    let (mut properties, mut clients) = (Vec::<Property>::new(), Vec::<Client>::new());
    for seed in SEEDS {
        if !properties.iter().any(|known| known.name == seed.property) {
            let body = PropertyBody { name: seed.property.to_owned() };
            properties.push(api.send(Method::POST, "/properties", &body).await?);
        }
        let property = properties.iter().find(|known| known.name == seed.property);
        let body = CreateClient {
            name: seed.name.to_owned(),
            property_id: property.map(|known| known.id.clone()).ok_or_else(missing)?,
            description: Some(seed.description.to_owned()),
            owners: vec![super::OWNER.to_owned()],
            environments: seed.environments.iter().map(|slug| (*slug).to_owned()).collect(),
        };
        clients.push(api.send(Method::POST, "/clients", &body).await?);
    }
    output::data(&format!("It holds {} clients in {} properties.\n", clients.len(), properties.len()))?;
    let mut client = clients.into_iter().find(|it| it.name == CLIENT).ok_or_else(missing)?;
    let registration =
        client.registrations.iter_mut().find(|it| it.environment == ENVIRONMENT).ok_or_else(missing)?;
    let client_id = registration.client_id.to_string();
    let secret = registration.secret.take().ok_or_else(missing)?;
    Ok(Registered { client, client_id, secret })
}
