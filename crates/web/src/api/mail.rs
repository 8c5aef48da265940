//! `/mail`.

use super::{
    call::Call,
    reply::ok,
    schema::{Schemas, Shape},
};
use crate::reply::Reply;
use crossfade_core::api;

pub(super) async fn read(call: Call) -> Reply {
    call.only(&[])?;
    ok(&call.app.read_mail(&call.principal).await?)
}

pub(super) fn read_shape(schemas: &mut Schemas) -> Shape {
    schemas.answers::<api::Mail>(200)
}

pub(super) async fn release(call: Call) -> Reply {
    ok(&call.app.release_mail(&call.request(), call.input()?).await?)
}

pub(super) fn release_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.answers::<api::MailReleased>(200);
    schemas.reads(shape, &api::ReleaseMail { reason: Some("moved to another machine".into()) })
}

pub(super) async fn test(call: Call) -> Reply {
    ok(&call.app.test_mail(&call.request(), call.optional_input()).await?)
}

pub(super) fn test_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.answers::<api::MailTested>(200);
    Shape { body_optional: true, ..schemas.reads(shape, &api::TestMail {}) }
}
