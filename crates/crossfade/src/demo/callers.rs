//! The programs of the story: each is a separate HTTP client with its own address and user agent.

use crate::failure::Failure;
use reqwest::StatusCode;
use serde_json::Value;
use std::{
    net::{IpAddr, SocketAddr, TcpListener},
    time::Duration,
};

/// A program that authenticates as the client.
pub(super) struct Caller {
    /// Its user agent.
    pub(super) name: &'static str,
    http: reqwest::Client,
    /// `{issuer}/oauth2`.
    base: String,
    client_id: String,
}

/// A response of an OAuth endpoint.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Value,
}

impl Answer {
    /// Returns a member of the body as text.
    pub(super) fn text(&self, member: &str) -> &str {
        self.body[member].as_str().unwrap_or_default()
    }
}

impl Caller {
    /// Creates a caller with `address` if this machine has it; otherwise only the user agent distinguishes it.
    pub(super) fn new(
        name: &'static str,
        address: [u8; 4],
        url: &str,
        environment: &str,
        client_id: &str,
    ) -> Result<Self, Failure> {
        let address = IpAddr::from(address);
        // Past every proxy: the server is on this machine, and so is its data.
        let builder = reqwest::Client::builder().user_agent(name).no_proxy();
        let mut builder = builder.timeout(Duration::from_secs(10));
        let on_ipv4 = url.starts_with("http://127.");
        if on_ipv4 && TcpListener::bind(SocketAddr::new(address, 0)).is_ok() {
            builder = builder.local_address(address);
        }
        let http = builder
            .build()
            .map_err(|error| Failure::failed(format!("Cannot create the HTTP client: {error}.")))?;
        let base = format!("{url}/env/{environment}/oauth2");
        Ok(Self { name, http, base, client_id: client_id.to_owned() })
    }

    /// Requests a token with `client_secret_basic` (RFC 6749 §2.3.1).
    pub(super) async fn token(&self, secret: &str) -> Result<Answer, Failure> {
        self.post("token", secret, &[("grant_type", "client_credentials")]).await
    }

    /// Introspects a token (RFC 7662).
    pub(super) async fn introspect(&self, secret: &str, token: &str) -> Result<Answer, Failure> {
        self.post("introspect", secret, &[("token", token)]).await
    }

    async fn post(&self, endpoint: &str, secret: &str, form: &[(&str, &str)]) -> Result<Answer, Failure> {
        let unanswered =
            |error: reqwest::Error| Failure::failed(format!("The server does not respond: {error}."));
        let request = self.http.post(format!("{}/{endpoint}", self.base));
        let response =
            request.basic_auth(&self.client_id, Some(secret)).form(form).send().await.map_err(unanswered)?;
        Ok(Answer { status: response.status(), body: response.json().await.map_err(unanswered)? })
    }
}
