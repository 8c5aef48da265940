//! Messages that are switched off: of the account, and of a client.

use super::{
    call::{Call, Ids},
    reply::{ok, tagged},
    schema::{Schemas, Shape},
};
use crate::reply::Reply;
use crossfade_app::ClientPath;
use crossfade_core::api;

pub(super) async fn read_own(call: Call) -> Reply {
    call.only(&[])?;
    tagged(ok, &call.app.read_own_messages(&call.principal).await?)
}

pub(super) fn read_own_shape(schemas: &mut Schemas) -> Shape {
    schemas.tagged::<api::OwnMessages>(200)
}

pub(super) async fn update_own(call: Call) -> Reply {
    tagged(ok, &call.app.update_own_messages(&call.request(), call.input()?).await?)
}

pub(super) fn update_own_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.tagged::<api::OwnMessages>(200);
    let example =
        api::UpdateOwnMessages { time_zone: Some("Europe/Berlin".into()), off: vec!["drill.stopped".into()] };
    schemas.reads(shape, &example)
}

pub(super) async fn read_of_client(Ids(client): Ids<String>, call: Call) -> Reply {
    tagged(ok, &call.app.read_client_messages(&call.principal, ClientPath(&client)).await?)
}

pub(super) fn read_of_client_shape(schemas: &mut Schemas) -> Shape {
    schemas.tagged::<api::ClientMessages>(200)
}

pub(super) async fn update_of_client(Ids(client): Ids<String>, call: Call) -> Reply {
    let request = call.request();
    tagged(ok, &call.app.update_client_messages(&request, ClientPath(&client), call.input()?).await?)
}

pub(super) fn update_of_client_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.tagged::<api::ClientMessages>(200);
    let example = api::UpdateClientMessages {
        off: vec!["drill.scheduled".into()],
        confirm_client_name: Some("Billing API".into()),
        reason: Some("the team reads the dashboard".into()),
    };
    schemas.reads(shape, &example)
}
