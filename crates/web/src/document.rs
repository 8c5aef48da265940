//! Documents that are the same for every reader, generated once, with one tag and one shared buffer.

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

/// A document that does not change while the program runs.
pub(crate) struct Document {
    body: Bytes,
    tag: HeaderValue,
    content_type: &'static str,
}

impl Document {
    pub(crate) fn new(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let tag = tag(&body);
        Self { body, tag, content_type }
    }

    /// Responds with the document, or with 304 if the reader has it. However many clients wait for it, its bytes exist
    /// once.
    pub(crate) fn answer(&self, headers: &HeaderMap) -> Response {
        let mut response = match is_known(headers, &self.tag) {
            true => StatusCode::NOT_MODIFIED.into_response(),
            false => Body::from(self.body.clone()).into_response(),
        };
        let out = response.headers_mut();
        out.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        out.insert(header::ETAG, self.tag.clone());
        // Kept, and asked for again each time: an upgrade changes it.
        out.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }
}

/// Returns the first hexadecimal digits of the SHA-256 of a content.
pub(crate) fn version(content: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, content);
    digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the entity tag of a content.
pub(crate) fn tag(content: &[u8]) -> HeaderValue {
    HeaderValue::try_from(format!("\"{}\"", version(content))).unwrap_or(HeaderValue::from_static("\"\""))
}

/// Whether the request says that the reader has the content with this tag (RFC 9110 §13.1.2).
pub(crate) fn is_known(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    // RFC 9110 §5.3: several lines are one list. Tags are compared weakly.
    let lines = headers.get_all(header::IF_NONE_MATCH).iter();
    let mut known =
        lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    known.any(|one| one == b"*" || one.strip_prefix(b"W/").unwrap_or(one) == tag.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_sent_from_one_buffer_and_only_to_readers_without_it() {
        let document = Document::new("text/plain", "text".to_owned());
        let mut headers = HeaderMap::new();
        let whole = document.answer(&headers);
        assert_eq!((whole.status(), &whole.headers()["etag"]), (StatusCode::OK, &document.tag));
        headers.append("if-none-match", HeaderValue::from_static("\"other\""));
        assert_eq!(document.answer(&headers).status(), StatusCode::OK);
        headers
            .append("if-none-match", format!("\"a\", W/{}", document.tag.to_str().unwrap()).parse().unwrap());
        let known = document.answer(&headers);
        assert_eq!((known.status(), &known.headers()["etag"]), (StatusCode::NOT_MODIFIED, &document.tag));
        headers = HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_static("*"))]);
        assert_eq!(document.answer(&headers).status(), StatusCode::NOT_MODIFIED);
        assert!(!document.body.is_unique(), "a waiting answer shares the buffer");
        drop((whole, known));
        assert!(document.body.is_unique());
    }
}
