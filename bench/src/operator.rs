//! Registrations that are created and rotated through the API, over one connection at a time.

use crate::{
    Failure,
    identity::NAME,
    server::Server,
    wire::{Dialer, Wire, token_request},
};
use serde_json::{Value, json};

/// Environment of the registrations.
pub(crate) const ENVIRONMENT: &str = "production";

/// A registration and its current secret.
#[derive(Clone)]
pub(crate) struct Registration {
    /// Path of the registration in the API.
    path: String,
    name: String,
    client_id: String,
    secret: String,
}

/// The Owner, on a server with registrations.
#[derive(Clone)]
pub(crate) struct Operator {
    pub(crate) dialer: Dialer,
    token: String,
    pub(crate) registrations: Vec<Registration>,
}

impl Operator {
    /// Creates a number of registrations on a server.
    pub(crate) async fn create(
        server: &Server,
        token: String,
        registrations: usize,
    ) -> Result<Self, Failure> {
        let mut operator = Self { dialer: server.dialer.clone(), token, registrations: Vec::new() };
        let mut wire = operator.dialer.dial().await?;
        let property = operator.call(&mut wire, "POST", "/properties", &json!({"name": "Bench"})).await?;
        for number in 0..registrations {
            let name = format!("Client {number}");
            let body = json!({"name": name, "property_id": property["id"], "environments": [ENVIRONMENT]});
            let made = operator.call(&mut wire, "POST", "/clients", &body).await?;
            let text = |value: &Value| value.as_str().map(str::to_owned).ok_or("a text is missing");
            let registration = &made["registrations"][0];
            operator.registrations.push(Registration {
                path: format!("/clients/{}/environments/{ENVIRONMENT}", text(&made["id"])?),
                name,
                client_id: text(&registration["client_id"])?,
                secret: text(&registration["secret"]["value"])?,
            });
        }
        Ok(operator)
    }

    /// Returns the response to a request. A refusal is a failure.
    pub(crate) async fn call(
        &self,
        wire: &mut Wire,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Result<Value, Failure> {
        let mut answer = Vec::new();
        let status = wire.ask(&self.request(method, path, body), &mut answer).await?;
        let head = answer.windows(4).position(|it| it == b"\r\n\r\n").ok_or("no head")? + 4;
        match status {
            200..300 => Ok(serde_json::from_slice(&answer[head..])?),
            _ => Err(format!("{path}: {}", String::from_utf8_lossy(&answer)).into()),
        }
    }

    fn request(&self, method: &str, path: &str, body: &Value) -> Vec<u8> {
        let body = body.to_string();
        format!(
            "{method} /api/v1{path} HTTP/1.1\r\nhost: {NAME}\r\nauthorization: Bearer {}\r\ncontent-type: \
             application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.token,
            body.len(),
        )
        .into_bytes()
    }

    /// Rotates a registration without a transition.
    pub(crate) async fn rotate(&mut self, wire: &mut Wire, number: usize) -> Result<(), Failure> {
        let Registration { path, name, .. } = &self.registrations[number];
        let body = json!({"transition_hours": 0, "confirm_client_name": name, "reason": "bench"});
        let rotated = self.call(wire, "POST", &format!("{path}/secrets/rotate"), &body).await?;
        let value = rotated["secret"]["value"].as_str().ok_or("no secret")?;
        self.registrations[number].secret = value.to_owned();
        Ok(())
    }

    /// Gets a token for a registration.
    pub(crate) async fn token(&self, wire: &mut Wire, number: usize) -> Result<(), Failure> {
        let Registration { client_id, secret, .. } = &self.registrations[number];
        let mut answer = Vec::new();
        match wire.ask(&token_request(ENVIRONMENT, client_id, secret), &mut answer).await? {
            200 => Ok(()),
            _ => Err(format!("not a token: {}", String::from_utf8_lossy(&answer)).into()),
        }
    }
}
