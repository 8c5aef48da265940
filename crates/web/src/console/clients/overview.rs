//! The first tab of a client: its description, and its state in each environment.

use super::{
    parts::{Standing, State, registration_state},
    place::{Place, Tabs},
};
use crate::{
    console::{layout::Layout, page, session::SignedIn},
    reply::Reply,
};
use askama::Template;
use axum::extract::Path;
use crossfade_app::{ClientPath, Rotator, Rotators};
use crossfade_core::{
    Timestamp, api,
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
    standings: Vec<Standing>,
    /// Accounts that can rotate its secrets; `None` for a reader who cannot view grants.
    rotators: Option<Rotators>,
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
    let place = Place::load(&signed, &client).await?;
    let now = signed.session.now;
    let lines = signed.app.read_client_line(signed.principal(), ClientPath(&client)).await?.registrations;
    let rotators = signed.app.list_rotators(signed.principal(), ClientPath(&client)).await?;
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
        property: place.property,
        client: place.client,
    }))
}
