//! `/tokens`.

use super::{
    call::{Call, Ids},
    reply::{done, page},
    schema::{Schemas, Shape, nothing},
};
use crate::reply::Reply;
use crossfade_core::api;

pub(super) async fn list(call: Call) -> Reply {
    page(&call.uri, &call.app.list_tokens(&call.principal, &call.list(&[])?).await?)
}

pub(super) fn list_shape(schemas: &mut Schemas) -> Shape {
    schemas.list::<api::Token>(&[])
}

pub(super) async fn delete(Ids(token): Ids<String>, call: Call) -> Reply {
    done(call.app.delete_token(&call.request(), &token, call.optional_input()).await?)
}

pub(super) fn delete_shape(_: &mut Schemas) -> Shape {
    nothing(204)
}
