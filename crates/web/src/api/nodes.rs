//! `/nodes`.

use super::{
    call::Call,
    reply::ok,
    schema::{Schemas, Shape},
};
use crate::reply::Reply;
use crossfade_core::api;

pub(super) async fn list(call: Call) -> Reply {
    call.only(&[])?;
    ok(&call.app.list_nodes(&call.principal).await?)
}

pub(super) fn list_shape(schemas: &mut Schemas) -> Shape {
    schemas.answers::<Vec<api::Node>>(200)
}
