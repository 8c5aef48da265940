//! Clients: the list, and the page of one with its environments, secrets and settings.

mod callers;
mod change;
mod commands;
mod create;
mod dialogs;
mod drills;
mod environment;
mod history;
mod list;
mod overview;
mod parts;
mod place;
mod security;
mod settings;

use crate::{
    Web,
    routing::{get, post},
};
use axum::Router;

pub(super) use environment::belongs_to_form;
pub(super) use parts::{Badges, State, badges, registration_state};

pub(super) fn router() -> Router<Web> {
    Router::new()
        .route("/console/clients", get(list::show))
        .route("/console/clients/new", get(create::show).merge(post(create::submit)))
        .route("/console/clients/{client}", get(overview::show))
        .route("/console/clients/{client}/settings", get(settings::show).merge(post(settings::submit)))
        .route("/console/clients/{client}/messages", post(settings::switch_messages))
        .route("/console/clients/{client}/environments", post(settings::add_environment))
        .route("/console/clients/{client}/delete", post(settings::delete))
        .route("/console/clients/{client}/environments/{environment}", get(environment::start))
        .route(
            "/console/clients/{client}/environments/{environment}/{tab}",
            get(environment::show).merge(post(environment::configure)),
        )
        .route("/console/clients/{client}/environments/{environment}/live", get(environment::live))
        .route(
            "/console/clients/{client}/environments/{environment}/upstream-credential",
            get(environment::back).merge(post(environment::set_upstream_credential)),
        )
        .route(
            "/console/clients/{client}/environments/{environment}/upstream-credential/test",
            post(environment::test_upstream_credential),
        )
        .route(
            "/console/clients/{client}/environments/{environment}/upstream-credential/release",
            post(environment::release_upstream_credential),
        )
        .route(
            "/console/clients/{client}/environments/{environment}/rotate",
            get(environment::back).merge(post(change::rotate)),
        )
        .route(
            "/console/clients/{client}/environments/{environment}/secrets/{secret}/reveal",
            post(change::reveal),
        )
        .route(
            "/console/clients/{client}/environments/{environment}/secrets/{secret}/revoke",
            get(environment::back).merge(post(change::revoke)),
        )
        .route(
            "/console/clients/{client}/environments/{environment}/secrets/{secret}/extend",
            get(environment::back).merge(post(change::extend)),
        )
        .route(
            "/console/clients/{client}/environments/{environment}/drills",
            get(environment::back).merge(post(drills::schedule)),
        )
        .route(
            "/console/clients/{client}/environments/{environment}/drills/{drill}/stop",
            get(environment::back).merge(post(drills::stop)),
        )
        .route(
            "/console/clients/{client}/environments/{environment}/rotations/{rotation}/rollback",
            get(environment::back).merge(post(change::rollback)),
        )
        .route(
            "/console/clients/{client}/environments/{environment}/rotations/{rotation}/seen",
            get(environment::back).merge(post(change::mark_seen)),
        )
}
