//! The first tab of a client: its description, and its state in each environment.

use super::{
    parts::{Badges, Standing, State, registration_state},
    place::{Place, Tabs},
};
use crate::{
    console::{layout::Layout, page, session::SignedIn},
    reply::Reply,
};
use askama::Template;
use axum::extract::Path;
use crossfade_app::{ClientOverview, ClientPath, Rotator, Rotators};
use crossfade_core::{
    Timestamp, api,
    environment::Slug,
    owners::OwnerKind,
    roles::{Permission, Scope},
};

#[derive(Template)]
#[template(path = "console/clients/overview.html")]
struct OverviewPage {
    layout: Layout,
    tabs: Tabs,
    now: Timestamp,
    client: api::Client,
    /// Whether the reader can read the audit trail.
    audits: bool,
    property: String,
    badges: Badges,
    standings: Vec<Standing>,
    /// Accounts that can rotate its secrets; `None` for a reader who cannot view grants.
    rotators: Option<Rotators>,
}

impl OverviewPage {
    /// Returns the name of an owner that is a webhook, for a reader who can manage it.
    fn named_webhook<'a>(&self, owner: &'a api::OwnerDetails) -> Option<&'a str> {
        owner.name.as_deref().filter(|_| owner.kind == Some(OwnerKind::Webhook))
    }

    /// Returns the names of the environments that a role is limited to.
    fn environments_of(&self, rotator: &Rotator) -> String {
        let Some(slugs) = &rotator.environments else { return "All".to_owned() };
        let name = |slug: &Slug| match self.badges.get(slug.as_str()) {
            Some(known) => known.badge.name().to_owned(),
            None => slug.to_string(),
        };
        slugs.iter().map(name).collect::<Vec<_>>().join(", ")
    }
}

/// Returns the scope of a role in words.
fn place(rotator: &Rotator) -> &'static str {
    match rotator.scope {
        Scope::Platform => "All clients",
        Scope::Property(_) => "Clients of this property",
        Scope::Client(_) => "This client",
    }
}

pub(super) async fn show(Path(client): Path<String>, signed: SignedIn) -> Reply {
    let read = signed.app.read_client_overview(signed.principal(), ClientPath(&client)).await?;
    let ClientOverview { now, frame, registrations: lines, rotators } = read;
    let place = Place::of(frame);
    let done = match signed.said() {
        "created" => Some("The client was created."),
        "saved" => Some("The client was updated."),
        _ => None,
    };
    Ok(page(&OverviewPage {
        layout: place.layout(&signed).done(done),
        tabs: place.tabs("Overview"),
        now,
        rotators,
        audits: signed.principal().may_somewhere(Permission::AuditRead),
        standings: lines.iter().filter_map(|line| registration_state(line, &place.badges, now)).collect(),
        badges: place.badges,
        property: place.property,
        client: place.client,
    }))
}
