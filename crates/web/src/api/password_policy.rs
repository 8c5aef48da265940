//! `/password-policy`.

use super::{
    call::Call,
    reply::{ok, tagged},
    schema::{Schemas, Shape},
};
use crate::reply::Reply;
use crossfade_core::{account::Passwords, api};

pub(super) async fn read(call: Call) -> Reply {
    call.only(&[])?;
    tagged(ok, &call.app.read_password_policy(&call.principal).await?)
}

pub(super) fn read_shape(schemas: &mut Schemas) -> Shape {
    schemas.tagged::<api::PasswordPolicy>(200)
}

pub(super) async fn update(call: Call) -> Reply {
    tagged(ok, &call.app.update_password_policy(&call.request(), call.input()?).await?)
}

pub(super) fn update_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.tagged::<api::PasswordPolicy>(200);
    let example = api::UpdatePasswordPolicy { passwords: Some(Passwords::Everyone), break_glass: None };
    schemas.reads(shape, &example)
}
