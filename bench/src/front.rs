//! Front mode beside nginx and beside a bare relay on the same HTTP stack, all in front of the same stub issuer.

use crate::{
    Failure,
    api::Api,
    asked::Asked,
    bare, cpu, load, report,
    server::{Place, Server},
    wire::token_request,
};
use aws_lc_rs::hmac;
use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderValue, Request, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use reqwest::Method;
use serde_json::json;
use std::{net::SocketAddr, sync::Arc, time::Duration};

/// Environment in front of the stub issuer.
const ENVIRONMENT: &str = "front";
/// `client_id` at the stub issuer, which is that of the callers, and its secret there.
const CLIENT: (&str, &str) = ("bench-client", "the secret at the issuer");

/// Measures answers per second, CPU time and latency.
pub(crate) async fn measure(seconds: Duration, rounds: usize) -> Result<(), Failure> {
    cpu::keep_to(cpu::GENERATOR)?;
    let issuer = Server::stub_issuer()?;
    let directory = tempfile::tempdir()?;
    let token = Place::new(directory.path()).initialise()?;
    let place = Place { front: true, ..Place::new(directory.path()) };
    let ours = Server::crossfade(&place).await?;
    let secret = put_in_front(&Api::new(&ours, token)?, issuer.address).await?;
    let asked =
        Arc::new(Asked { requests: vec![token_request(ENVIRONMENT, CLIENT.0, &secret)], statuses: &[200] });
    let relay = Server::bare_relay(issuer.address, &secret)?;
    let place = tempfile::tempdir()?;
    let nginx = Server::nginx(place.path(), issuer.address, &upstream_authorization()).await?;
    let servers = [&ours, &relay, &nginx];
    report::front_head(seconds, rounds);
    for connections in crate::CONNECTIONS {
        let mut measured = servers.map(|_| Vec::new());
        for server in servers {
            load::run(server, &asked, connections, Duration::from_millis(500)).await?;
        }
        for _ in 0..rounds {
            for (server, rounds) in servers.iter().zip(&mut measured) {
                rounds.push(load::run(server, &asked, connections, seconds).await?);
            }
        }
        report::front_lines(connections, servers.map(|it| it.name), &mut measured);
    }
    Ok(())
}

/// Creates the environment and the client, and returns the client's secret.
async fn put_in_front(api: &Api, issuer: SocketAddr) -> Result<String, Failure> {
    let environment = json!({"slug": ENVIRONMENT, "name": "Front", "kind": "live"});
    api.call(Method::POST, "/environments", Some(environment)).await?;
    let server = json!({
        "name": "main", "issuer": format!("http://{issuer}"), "token_endpoint": format!("http://{issuer}/token"),
    });
    let upstream = json!({
        "issuer_mode": "upstream", "upstream": {"kind": "generic", "servers": [server]},
        "confirm_environment_slug": ENVIRONMENT,
    });
    api.call(Method::PATCH, &format!("/environments/{ENVIRONMENT}"), Some(upstream)).await?;
    let property = api.call(Method::POST, "/properties", Some(json!({"name": "Bench"}))).await?;
    let client = json!({
        "name": "Bench", "property_id": property["id"], "environments": [ENVIRONMENT], "client_id": CLIENT.0,
    });
    let client = api.call(Method::POST, "/clients", Some(client)).await?;
    let id = client["id"].as_str().ok_or("no ID")?;
    let path = format!("/clients/{id}/environments/{ENVIRONMENT}/upstream-credential");
    api.call(Method::PUT, &path, Some(json!({"secret": CLIENT.1}))).await?;
    let secret = client["registrations"][0]["secret"]["value"].as_str().ok_or("no secret")?;
    Ok(secret.to_owned())
}

/// Returns the header with which the relays authenticate at the issuer.
fn upstream_authorization() -> String {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    format!("Basic {}", STANDARD.encode(format!("{}:{}", encoded(CLIENT.0), encoded(CLIENT.1))))
}

/// Serves as an issuer that answers every request with the same token, until stdin ends.
pub(crate) async fn serve_stub_issuer() -> Result<(), Failure> {
    let body = format!(r#"{{"access_token":"{}","token_type":"Bearer","expires_in":3600}}"#, "t".repeat(600));
    bare::serve_router(Router::new().fallback(move || async move { token_answer(Bytes::from(body)) }), &[])
        .await
}

struct Relay {
    key: hmac::Key,
    digest: Vec<u8>,
    issuer: String,
    authorization: HeaderValue,
    client: Client<HttpConnector, Body>,
}

/// Serves as a relay that only verifies an HMAC and replaces the credentials, until stdin ends.
pub(crate) async fn serve_relay(issuer: SocketAddr, secret: &str) -> Result<(), Failure> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let relay = Relay {
        digest: hmac::sign(&key, secret.as_bytes()).as_ref().to_vec(),
        key,
        issuer: format!("http://{issuer}/token"),
        authorization: upstream_authorization().parse()?,
        client: Client::builder(TokioExecutor::new()).build(connector),
    };
    bare::serve_router(Router::new().fallback(forward).with_state(Arc::new(relay)), &[]).await
}

async fn forward(State(relay): State<Arc<Relay>>, headers: HeaderMap, body: Bytes) -> Response {
    match relay.forward(&headers, body).await {
        Some(body) => token_answer(body),
        None => StatusCode::BAD_GATEWAY.into_response(),
    }
}

impl Relay {
    async fn forward(&self, headers: &HeaderMap, body: Bytes) -> Option<Bytes> {
        let basic = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
        let basic = String::from_utf8(STANDARD.decode(basic).ok()?).ok()?;
        let (_, secret) = basic.split_once(':')?;
        hmac::verify(&self.key, secret.as_bytes(), &self.digest).ok()?;
        let request = Request::post(&self.issuer)
            .header(header::AUTHORIZATION, self.authorization.clone())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(body));
        let answer = self.client.request(request.ok()?).await.ok()?;
        axum::body::to_bytes(Body::new(answer.into_body()), 1024 * 1024).await.ok()
    }
}

fn token_answer(body: Bytes) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
