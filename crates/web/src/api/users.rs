//! `/users`, their grants and links, and `/me`.

use super::{
    call::{Call, Ids},
    reply::{created, done, ok, page, tagged},
};
use crate::reply::Reply;
use crossfade_app::UserPath;

pub(super) async fn read_me(call: Call) -> Reply {
    call.only(&[])?;
    ok(&call.app.read_me(&call.principal).await?)
}

pub(super) async fn list(call: Call) -> Reply {
    let (query, q) = (call.list(&["q"])?, call.parameter("q"));
    page(&call.uri, &call.app.list_users(&call.principal, q.as_deref(), &query).await?)
}

pub(super) async fn create(call: Call) -> Reply {
    tagged(created, &call.app.create_user(&call.request(), call.input()?).await?)
}

pub(super) async fn read(Ids(user): Ids<String>, call: Call) -> Reply {
    tagged(ok, &call.app.read_user(&call.principal, UserPath(&user)).await?)
}

pub(super) async fn update(Ids(user): Ids<String>, call: Call) -> Reply {
    tagged(ok, &call.app.update_user(&call.request(), UserPath(&user), call.input()?).await?)
}

pub(super) async fn delete(Ids(user): Ids<String>, call: Call) -> Reply {
    done(call.app.delete_user(&call.request(), UserPath(&user), call.deletion()).await?)
}

pub(super) async fn create_link(Ids(user): Ids<String>, call: Call) -> Reply {
    created(&call.app.create_link(&call.request(), UserPath(&user), call.optional_input()).await?)
}

pub(super) async fn list_grants(Ids(user): Ids<String>, call: Call) -> Reply {
    page(&call.uri, &call.app.list_grants(&call.principal, UserPath(&user), &call.list(&[])?).await?)
}

pub(super) async fn create_grant(Ids(user): Ids<String>, call: Call) -> Reply {
    created(&call.app.create_grant(&call.request(), UserPath(&user), call.input()?).await?)
}

pub(super) async fn delete_grant(Ids((user, grant)): Ids<(String, String)>, call: Call) -> Reply {
    done(call.app.delete_grant(&call.request(), UserPath(&user), &grant, call.optional_input()).await?)
}
