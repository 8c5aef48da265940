//! Drills: windows in which the retiring secret is refused.

use super::{
    call::{Call, Ids},
    reply::{created, ok, page},
};
use crate::reply::Reply;
use crossfade_app::RegistrationPath;

type Registration = Ids<(String, String)>;
type Part = Ids<(String, String, String)>;

pub(super) async fn schedule(Ids((client, environment)): Registration, call: Call) -> Reply {
    let path = RegistrationPath { client: &client, environment: &environment };
    created(&call.app.schedule_drill(&call.request(), path, call.input()?).await?)
}

pub(super) async fn list(Ids((client, environment)): Registration, call: Call) -> Reply {
    let path = RegistrationPath { client: &client, environment: &environment };
    page(&call.uri, &call.app.list_drills(&call.principal, path, &call.list(&[])?).await?)
}

pub(super) async fn stop(Ids((client, environment, drill)): Part, call: Call) -> Reply {
    let path = RegistrationPath { client: &client, environment: &environment };
    ok(&call.app.stop_drill(&call.request(), path, &drill, call.optional_input()).await?)
}
