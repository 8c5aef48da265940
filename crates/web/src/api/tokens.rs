//! `/tokens`.

use super::{
    call::{Call, Ids},
    reply::{done, page},
};
use crate::reply::Reply;

pub(super) async fn list(call: Call) -> Reply {
    page(&call.uri, &call.app.list_tokens(&call.principal, &call.list(&[])?).await?)
}

pub(super) async fn delete(Ids(token): Ids<String>, call: Call) -> Reply {
    done(call.app.delete_token(&call.request(), &token, call.optional_input()).await?)
}
