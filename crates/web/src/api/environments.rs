//! `/environments` and their signing keys.

use super::{
    call::{Call, Ids},
    reply::{created, done, ok, tagged},
};
use crate::reply::Reply;
use crossfade_app::EnvironmentPath;

pub(super) async fn list(call: Call) -> Reply {
    call.only(&[])?;
    ok(&call.app.list_environments(&call.principal).await?)
}

pub(super) async fn read(Ids(environment): Ids<String>, call: Call) -> Reply {
    tagged(ok, &call.app.read_environment(&call.principal, EnvironmentPath(&environment)).await?)
}

pub(super) async fn create(call: Call) -> Reply {
    tagged(created, &call.app.create_environment(&call.request(), call.input()?).await?)
}

pub(super) async fn update(Ids(environment): Ids<String>, call: Call) -> Reply {
    let request = call.request();
    tagged(ok, &call.app.update_environment(&request, EnvironmentPath(&environment), call.input()?).await?)
}

pub(super) async fn delete(Ids(environment): Ids<String>, call: Call) -> Reply {
    done(call.app.delete_environment(&call.request(), EnvironmentPath(&environment), call.deletion()).await?)
}

pub(super) async fn list_signing_keys(Ids(environment): Ids<String>, call: Call) -> Reply {
    ok(&call.app.list_signing_keys(&call.principal, EnvironmentPath(&environment)).await?)
}

pub(super) async fn rotate_signing_key(Ids(environment): Ids<String>, call: Call) -> Reply {
    let request = call.request();
    created(&call.app.rotate_signing_key(&request, EnvironmentPath(&environment), call.input()?).await?)
}
