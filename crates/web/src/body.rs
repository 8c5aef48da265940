//! Reading the body of a request.

use crate::Web;
use axum::{
    body::Bytes,
    extract::{
        FromRequest, Request,
        rejection::{BytesRejection, FailedToBufferBody::LengthLimitError},
    },
};
use std::time::Duration;
use tokio::time::timeout;

/// Maximum number of bytes read from a body.
pub(crate) const BODY_BYTES: usize = 64 * 1024;

/// Time limit for a body to arrive after the headers.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// Why a body was not read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BodyError {
    /// It has more than `BODY_BYTES`.
    TooLarge,
    /// It did not arrive in time.
    Late,
    /// It ended early, or its chunks are malformed (RFC 9112 section 7.1).
    Broken,
}

/// Reads the whole body of a request.
pub(crate) async fn read(request: Request, web: &Web) -> Result<Bytes, BodyError> {
    match timeout(BODY_WITHIN, Bytes::from_request(request, web)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(BytesRejection::FailedToBufferBody(LengthLimitError(_)))) => Err(BodyError::TooLarge),
        Ok(Err(_)) => Err(BodyError::Broken),
        Err(_) => Err(BodyError::Late),
    }
}
