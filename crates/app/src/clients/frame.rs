//! What every page of a client shows: the client, its environments, and the principal's permissions.

use super::{
    client::{shown_with, version_for},
    owners::{KnownOwners, known_owners},
    rotators::{Rotators, rotators_of},
};
use crate::{
    app::App,
    error::Error,
    frame::{principal::Principal, targets::ClientPath},
    people::abilities::Abilities,
};
use crossfade_core::{Operation, Problem, Timestamp, api, roles::Object};
use crossfade_store::{Client, Environment, Registration, RegistrationLine, Tx};

/// The frame of a client's pages.
#[derive(Clone, Debug)]
pub struct ClientFrame {
    /// The client, with the registrations that the principal can read.
    pub client: api::Client,
    /// Its version for this principal.
    pub version: i64,
    /// Name of its property, which a principal with access to a single client cannot read otherwise.
    pub property: String,
    /// All environments.
    pub environments: Vec<api::Environment>,
    /// Permissions of the principal on the client in every environment.
    pub may: Abilities,
}

/// The first page of a client.
#[derive(Clone, Debug)]
pub struct ClientOverview {
    /// Time of the snapshot.
    pub now: Timestamp,
    /// The frame of the page.
    pub frame: ClientFrame,
    /// State of the registrations that the principal can read.
    pub registrations: Vec<RegistrationLine>,
    /// Accounts that can rotate its secrets; `None` for a principal who cannot view grants.
    pub rotators: Option<Rotators>,
}

/// Rows of a frame, which are the same for every principal.
#[derive(Clone, Debug)]
pub(crate) struct FrameRows {
    client: Client,
    property: String,
    registrations: Vec<Registration>,
    environments: Vec<Environment>,
    owners: KnownOwners,
    shown_environments: Vec<api::Environment>,
}

impl FrameRows {
    /// Reads the frame of a client.
    pub(crate) async fn load(app: &App, tx: &mut Tx, client: Client) -> Result<Self, Error> {
        let missing = || Error::internal("a client names a property that is not there");
        let property = tx.property(&client.property_id).await?.ok_or_else(missing)?;
        let environments = tx.environments().await?;
        Ok(Self {
            property: property.name.to_string(),
            registrations: tx.registrations(&client.id).await?,
            shown_environments: app.shown_environments(tx, &environments, app.clock.now()).await?,
            environments,
            owners: known_owners([&client], tx).await?,
            client,
        })
    }

    /// Returns the frame as this principal can see it.
    pub(crate) fn shown(&self, app: &App, principal: &Principal) -> ClientFrame {
        let Self { client, registrations, environments, owners, .. } = self;
        ClientFrame {
            client: shown_with(app, principal, client, registrations, (environments, owners)),
            version: version_for(principal, client, registrations),
            property: self.property.clone(),
            environments: self.shown_environments.clone(),
            may: Abilities::of(principal, Object::Client(&client.property_id, &client.id)),
        }
    }
}

impl App {
    /// Returns the frame of a client's pages.
    pub async fn read_client_frame(
        &self,
        principal: &Principal,
        path: ClientPath<'_>,
    ) -> Result<ClientFrame, Error> {
        self.view(Operation::ReadClient, principal, path, async |tx, principal, client: Client| {
            Ok(FrameRows::load(self, tx, client).await?.shown(self, principal))
        })
        .await
    }

    /// Returns what the first page of a client shows.
    pub async fn read_client_overview(
        &self,
        principal: &Principal,
        path: ClientPath<'_>,
    ) -> Result<ClientOverview, Error> {
        self.view(Operation::ReadClient, principal, path, async |tx, principal, client: Client| {
            let now = self.clock.now();
            let line = tx.client_line(&client.id, now).await?;
            let line = line.and_then(|line| super::lines::readable(principal, line));
            Ok(ClientOverview {
                now,
                registrations: line.ok_or_else(Problem::not_found)?.registrations,
                rotators: rotators_of(tx, principal, &client).await?,
                frame: FrameRows::load(self, tx, client).await?.shown(self, principal),
            })
        })
        .await
    }
}
