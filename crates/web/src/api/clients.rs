//! `/clients` and their registrations.

use super::{
    call::{Call, Ids},
    reply::{created, done, ok, page, tagged},
};
use crate::reply::Reply;
use crossfade_app::{ClientPath, ClientQuery, RegistrationPath};

pub(super) async fn list(call: Call) -> Reply {
    let query = ClientQuery {
        list: call.list(&["q", "property_id", "environment", "overdue"])?,
        q: call.parameter("q"),
        property_id: call.parameter("property_id"),
        environment: call.parameter("environment"),
        overdue: call.parameter("overdue"),
    };
    page(&call.uri, &call.app.list_clients(&call.principal, &query).await?)
}

pub(super) async fn create(call: Call) -> Reply {
    tagged(created, &call.app.create_client(&call.request(), call.input()?).await?)
}

pub(super) async fn read(Ids(client): Ids<String>, call: Call) -> Reply {
    tagged(ok, &call.app.read_client(&call.principal, ClientPath(&client)).await?)
}

pub(super) async fn update(Ids(client): Ids<String>, call: Call) -> Reply {
    let request = call.request();
    tagged(ok, &call.app.update_client(&request, ClientPath(&client), call.input()?).await?)
}

pub(super) async fn delete(Ids(client): Ids<String>, call: Call) -> Reply {
    done(call.app.delete_client(&call.request(), ClientPath(&client), call.input()?).await?)
}

pub(super) async fn create_registration(Ids(client): Ids<String>, call: Call) -> Reply {
    let request = call.request();
    tagged(created, &call.app.create_registration(&request, ClientPath(&client), call.input()?).await?)
}

pub(super) async fn read_registration(
    Ids((client, environment)): Ids<(String, String)>,
    call: Call,
) -> Reply {
    let path = RegistrationPath { client: &client, environment: &environment };
    tagged(ok, &call.app.read_registration(&call.principal, path).await?)
}

pub(super) async fn update_registration(
    Ids((client, environment)): Ids<(String, String)>,
    call: Call,
) -> Reply {
    let path = RegistrationPath { client: &client, environment: &environment };
    let request = call.request();
    tagged(ok, &call.app.update_registration(&request, path, call.input()?).await?)
}
