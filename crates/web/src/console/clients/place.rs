//! Context of a client's page: the client, its environments, and the reader's permissions.

use super::parts::{Badges, badges};
use crate::console::{
    environment::EnvironmentBadge,
    layout::{Layout, Section},
    session::SignedIn,
};
use crate::reply::Refused;
use crossfade_app::{Abilities, ClientFrame, ClientPath};
use crossfade_core::api;

/// A client and its context.
pub(super) struct Place {
    pub(super) client: api::Client,
    pub(super) version: i64,
    pub(super) property: String,
    pub(super) environments: Vec<api::Environment>,
    pub(super) badges: Badges,
    /// The reader's permissions on the client.
    pub(super) may: Abilities,
}

/// The tabs of a client's page.
#[derive(Clone, Debug)]
pub(super) struct Tabs {
    pub(super) tabs: Vec<Tab>,
    /// Address of the dialog Rotate, if the client is registered in one environment alone.
    pub(super) rotate: Option<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Tab {
    pub(super) label: &'static str,
    pub(super) path: String,
    pub(super) selected: bool,
}

/// A registration in the switch of environments.
#[derive(Clone, Debug)]
pub(super) struct Switch {
    pub(super) slug: String,
    pub(super) badge: EnvironmentBadge,
    pub(super) path: String,
    pub(super) selected: bool,
}

impl Place {
    pub(super) async fn load(signed: &SignedIn, client: &str) -> Result<Self, Refused> {
        Ok(Self::of(signed.app.read_client_frame(signed.principal(), ClientPath(client)).await?))
    }

    pub(super) fn of(frame: ClientFrame) -> Self {
        let ClientFrame { client, version, property, environments, may } = frame;
        Self { badges: badges(&environments), client, version, property, environments, may }
    }

    pub(super) fn path(&self) -> String {
        format!("/console/clients/{}", self.client.id)
    }

    pub(super) fn environment_path(&self, slug: &str) -> String {
        format!("{}/environments/{slug}", self.path())
    }

    pub(super) fn layout(&self, signed: &SignedIn) -> Layout {
        signed.layout(Section::Clients, &self.client.name).crumb("Clients", "/console/clients")
    }

    pub(super) fn tabs(&self, selected: &str) -> Tabs {
        let mut tabs = vec![("Overview", self.path())];
        if let Some(first) = self.client.registrations.first() {
            tabs.push(("Environment", self.environment_path(&first.environment)));
        }
        if self.may.manage {
            tabs.push(("Client settings", format!("{}/settings", self.path())));
        }
        let rotate = match self.client.registrations.as_slice() {
            [only] => Some(format!("{}/security#rotate", self.environment_path(&only.environment))),
            _ => None,
        };
        let tab = |(label, path)| Tab { label, path, selected: label == selected };
        Tabs { tabs: tabs.into_iter().map(tab).collect(), rotate }
    }

    /// Returns the environments that the client is registered in.
    pub(super) fn switch(&self, selected: &str, tab: &str) -> Vec<Switch> {
        let one = |it: &api::Registration| {
            let badge = self.badges.get(&it.environment)?.badge.clone();
            let path = format!("{}/{tab}", self.environment_path(&it.environment));
            let selected = it.environment == selected;
            Some(Switch { slug: it.environment.clone(), badge, path, selected })
        };
        self.client.registrations.iter().filter_map(one).collect()
    }
}

impl Tab {
    /// Returns the last part of its id, which contains no space.
    pub(super) fn id(&self) -> String {
        self.label.replace(' ', "-")
    }
}

#[cfg(test)]
impl Tabs {
    pub(super) fn sample(selected: &str) -> Self {
        let tab = |label: &'static str| Tab {
            label,
            path: "/console/clients/cl_1".into(),
            selected: label == selected,
        };
        Self { tabs: ["Overview", "Environment", "Client settings"].map(tab).to_vec(), rotate: None }
    }
}
