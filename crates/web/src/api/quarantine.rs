//! `/quarantine`.

use super::{
    call::Call,
    reply::ok,
    schema::{Schemas, Shape},
};
use crate::reply::Reply;
use crossfade_core::api;

pub(super) async fn read(call: Call) -> Reply {
    call.only(&[])?;
    ok(&call.app.read_quarantine(&call.principal).await?)
}

pub(super) fn read_shape(schemas: &mut Schemas) -> Shape {
    schemas.answers::<api::Quarantine>(200)
}

pub(super) async fn release(call: Call) -> Reply {
    ok(&call.app.release_quarantine(&call.request(), call.input()?).await?)
}

pub(super) fn release_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.answers::<api::QuarantineReleased>(200);
    let example = api::ReleaseQuarantine {
        reason: Some("restored the backup of this night".into()),
        except: vec!["cl_0123456789abcdefghijkl".into()],
    };
    schemas.reads(shape, &example)
}
