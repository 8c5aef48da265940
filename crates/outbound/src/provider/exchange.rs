//! One request to a provider, and its answer in JSON.

use super::ProviderFailure;
use crate::{
    connect::{ConnectFailure, Connector},
    webhook::Destination,
};
use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, USER_AGENT},
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value};
use std::pin::pin;
use tokio::time::{Duration, timeout};
use zeroize::Zeroizing;

/// Maximum size of the head of an answer.
const MAX_HEAD: usize = 32 * 1024;
/// Maximum size of the body of an answer.
const MAX_BODY: usize = 512 * 1024;
/// Maximum length of an `error` that is repeated.
const MAX_ERROR: usize = 64;
/// How long connecting to one of several addresses can take.
const ADDRESS_WITHIN: Duration = Duration::from_secs(2);
/// How long connecting can take, with TLS.
const CONNECT_WITHIN: Duration = Duration::from_secs(4);
/// How long the whole request can take. A person waits for up to four of them.
const ANSWER_WITHIN: Duration = Duration::from_secs(6);

/// A request: a form, or without one a GET.
pub(super) struct Exchange<'a> {
    pub(super) to: &'a Destination,
    pub(super) form: Option<&'a Zeroizing<String>>,
    pub(super) authorization: Option<&'a Zeroizing<String>>,
}

/// Sends a request, and returns the JSON object in the answer.
pub(super) async fn ask(
    connector: &Connector,
    exchange: Exchange<'_>,
) -> Result<Map<String, Value>, ProviderFailure> {
    let late = |_| ProviderFailure::Unreachable("no answer in time".to_owned());
    let (status, body) = timeout(ANSWER_WITHIN, send(connector, exchange)).await.map_err(late)??;
    let read = serde_json::from_slice::<Map<String, Value>>(&body);
    if status == StatusCode::OK {
        return read.map_err(|_| ProviderFailure::Malformed("no JSON object"));
    }
    let is_plain = |error: &&str| {
        (1..=MAX_ERROR).contains(&error.len())
            && error.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    let read = read.unwrap_or_default();
    let error = read.get("error").and_then(Value::as_str).filter(is_plain);
    let said = error.map_or_else(
        || format!("status {}", status.as_u16()),
        |error| format!("status {}, {error}", status.as_u16()),
    );
    match status.is_server_error() {
        true => Err(ProviderFailure::Unreachable(said)),
        false => Err(ProviderFailure::Refused(said)),
    }
}

async fn send(
    connector: &Connector,
    Exchange { to, form, authorization }: Exchange<'_>,
) -> Result<(StatusCode, Bytes), ProviderFailure> {
    let broken = |_| ProviderFailure::Unreachable("the connection ended".to_owned());
    let connecting = timeout(CONNECT_WITHIN, connector.connect(to, ADDRESS_WITHIN)).await;
    let stream = connecting
        .map_err(|_| ProviderFailure::Unreachable("no connection in time".to_owned()))?
        .map_err(|failure| {
            ProviderFailure::Unreachable(match failure {
                ConnectFailure::RefusedAddress => "its address is not allowed".to_owned(),
                ConnectFailure::Unknown => "its host name has no address".to_owned(),
                ConnectFailure::NotConnected => "no connection".to_owned(),
                ConnectFailure::Tls(what) => format!("TLS failed: {what}"),
            })
        })?;
    let mut request = Request::builder()
        .method(if form.is_some() { Method::POST } else { Method::GET })
        .uri(to.target.clone())
        .header(HOST, to.authority())
        .header(USER_AGENT, concat!("Crossfade/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "application/json")
        .header(CONNECTION, "close");
    if form.is_some() {
        request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    }
    if let Some(authorization) = authorization {
        let malformed = |_| ProviderFailure::Malformed("a token that fits into no header");
        let mut value = HeaderValue::try_from(authorization.as_str()).map_err(malformed)?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    let body = form.map_or_else(Bytes::new, |form| Bytes::copy_from_slice(form.as_bytes()));
    let request = request
        .body(Full::new(body))
        .map_err(|_| ProviderFailure::Malformed("an endpoint that cannot be requested"))?;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_HEAD);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let too_large = |_| ProviderFailure::Malformed("an answer that is too large or incomplete");
        let body = Limited::new(response.into_body(), MAX_BODY).collect().await.map_err(too_large)?;
        Ok((status, body.to_bytes()))
    };
    let (mut exchange, mut connection) = (pin!(exchange), pin!(connection));
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        // What the connection has read is still there.
        _ = &mut connection => exchange.await,
    }
}
