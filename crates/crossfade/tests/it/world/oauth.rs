//! Callers of the OAuth endpoints.

use super::{Answer, World};
use axum::body::Body;
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderName, HeaderValue, Method, Request, header};
use serde_json::Value;
use std::net::IpAddr;

/// Somebody who calls the OAuth endpoints.
#[derive(Clone)]
pub struct Oauth<'w> {
    pub world: &'w World,
    pub environment: String,
    pub from: IpAddr,
    pub agent: String,
}

impl Oauth<'_> {
    /// From another address and agent.
    pub fn from(mut self, address: [u8; 4], agent: &str) -> Self {
        self.from = IpAddr::from(address);
        self.agent = agent.to_owned();
        self
    }

    /// A token by `client_secret_basic`.
    pub async fn token(&self, client_id: &str, secret: &str) -> Answer {
        self.basic("token", client_id, secret, &[("grant_type", "client_credentials")]).await
    }

    /// A token by `client_secret_post`.
    pub async fn token_by_post(&self, client_id: &str, secret: &str) -> Answer {
        let form =
            [("grant_type", "client_credentials"), ("client_id", client_id), ("client_secret", secret)];
        self.form("token", &form, &[]).await
    }

    /// What introspection says of a token.
    pub async fn introspect(&self, client_id: &str, secret: &str, token: &str) -> Value {
        self.basic("introspect", client_id, secret, &[("token", token)]).await.ok()
    }

    /// A form with a `Basic` header.
    pub async fn basic(
        &self,
        endpoint: &str,
        client_id: &str,
        secret: &str,
        form: &[(&str, &str)],
    ) -> Answer {
        let basic = format!("Basic {}", STANDARD.encode(format!("{client_id}:{secret}")));
        self.form(endpoint, form, &[("authorization", &basic)]).await
    }

    /// A form with any headers.
    pub async fn form(&self, endpoint: &str, form: &[(&str, &str)], headers: &[(&str, &str)]) -> Answer {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let mut all = vec![("content-type", "application/x-www-form-urlencoded")];
        all.extend_from_slice(headers);
        self.raw(Method::POST, endpoint, body.into_bytes(), &all).await
    }

    /// Any request to an endpoint; `endpoint` may carry a query.
    pub async fn raw(
        &self,
        method: Method,
        endpoint: &str,
        body: Vec<u8>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/env/{}/oauth2/{endpoint}", self.environment))
            .header(header::USER_AGENT, &self.agent);
        for (name, value) in headers {
            request = request.header(
                HeaderName::try_from(*name).unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        self.world.send(request.body(Body::from(body)).unwrap(), self.from).await
    }
}
