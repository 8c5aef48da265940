//! Reading the body of a request.

use crate::Web;
use axum::{
    BoxError,
    body::{Bytes, HttpBody},
    extract::{
        FromRequest, Request,
        rejection::{BytesRejection, FailedToBufferBody::LengthLimitError},
    },
};
use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};
use tokio::time::timeout;

/// Maximum number of bytes read from a body.
pub(crate) const BODY_BYTES: usize = 64 * 1024;

/// Time limit for a body to arrive after the headers.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// Why a body was not read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BodyError {
    /// It has more bytes than are read.
    TooLarge,
    /// It did not arrive in time.
    Late,
    /// It ended early, or its chunks are malformed (RFC 9112 section 7.1).
    Broken,
}

/// Reads the whole body of a request that no extractor reads, of at most this number of bytes.
pub(crate) async fn read_directly<B>(body: B, most: usize) -> Result<Bytes, BodyError>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let mut body = pin!(body);
    let mut read = pin!(frames(body.as_mut(), most));
    // Nearly every body arrives with its headers, and needs no timer.
    match poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx))).await {
        Poll::Ready(read) => read,
        Poll::Pending => timeout(BODY_WITHIN, read).await.unwrap_or(Err(BodyError::Late)),
    }
}

/// Reads the data of a body. A body of one frame is not copied.
async fn frames<B>(mut body: Pin<&mut B>, most: usize) -> Result<Bytes, BodyError>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let (mut first, mut all) = (Bytes::new(), Vec::new());
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let frame = frame.map_err(|_| BodyError::Broken)?;
        // Trailers say nothing that is read.
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + all.len() + data.len() > most {
            return Err(BodyError::TooLarge);
        }
        if first.is_empty() && all.is_empty() {
            first = data;
        } else if !data.is_empty() {
            all.extend_from_slice(&std::mem::take(&mut first));
            all.extend_from_slice(&data);
        }
    }
    Ok(if all.is_empty() { first } else { all.into() })
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

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use futures_util::{FutureExt, stream};

    /// Reads a body that arrives in these frames, all of them at once.
    fn read(frames: Vec<Result<Bytes, std::io::Error>>) -> Result<Bytes, BodyError> {
        read_directly(Body::from_stream(stream::iter(frames)), BODY_BYTES).now_or_never().unwrap()
    }

    fn frames(lengths: &[usize]) -> Vec<Result<Bytes, std::io::Error>> {
        lengths.iter().map(|length| Ok(Bytes::from(vec![b'x'; *length]))).collect()
    }

    #[test]
    fn a_body_of_one_frame_is_not_copied() {
        let frame = Bytes::from(vec![b'x'; 100]);
        let body = read(vec![Ok(Bytes::new()), Ok(frame.clone()), Ok(Bytes::new())]).unwrap();
        assert_eq!((body.as_ptr(), body.len()), (frame.as_ptr(), 100));
        assert_eq!(read(Vec::new()), Ok(Bytes::new()));
    }

    #[test]
    fn a_body_has_at_most_65536_bytes_in_however_many_frames() {
        for lengths in [&[65_536][..], &[1, 65_535], &[65_535, 0, 1], &[30_000, 30_000, 5_536]] {
            assert_eq!(read(frames(lengths)).map(|body| body.len()), Ok(BODY_BYTES), "{lengths:?}");
            let more = [lengths, &[1]].concat();
            assert_eq!(read(frames(&more)), Err(BodyError::TooLarge), "{more:?}");
        }
        assert_eq!(read(frames(&[65_537])), Err(BodyError::TooLarge));
        let ordered = read(vec![Ok("one".into()), Ok(" two".into()), Ok(" three".into())]);
        assert_eq!(ordered, Ok(Bytes::from_static(b"one two three")));
    }

    #[test]
    fn a_body_that_ends_early_is_broken() {
        let end = || Err(std::io::ErrorKind::UnexpectedEof.into());
        for frames in [vec![end()], vec![Ok("grant".into()), end()]] {
            assert_eq!(read(frames), Err(BodyError::Broken));
        }
    }
}
