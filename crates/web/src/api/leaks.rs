//! `/leaks`.

use super::{
    call::Call,
    reply::ok,
    schema::{Schemas, Shape},
};
use crate::reply::Reply;
use crossfade_core::api;

pub(super) async fn identify(call: Call) -> Reply {
    ok(&call.app.identify_secrets(&call.request(), call.input()?).await?)
}

pub(super) fn identify_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.answers::<api::IdentifiedSecrets>(200);
    schemas.reads(shape, &api::IdentifySecrets { text: Some("CLIENT_SECRET=crossfade_live_…".into()) })
}
