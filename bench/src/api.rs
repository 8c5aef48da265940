//! The API of a server, as the Owner of the benchmark.

use crate::{Failure, server::Server};
use reqwest::{Client, Method, redirect::Policy};
use serde_json::Value;
use std::time::Duration;

/// A client of one server.
pub(crate) struct Api {
    pub(crate) http: Client,
    /// Base of every address of the server.
    pub(crate) url: String,
    token: String,
}

impl Api {
    pub(crate) fn new(server: &Server, token: String) -> Result<Self, Failure> {
        let http = Client::builder().redirect(Policy::none()).timeout(Duration::from_secs(60)).build()?;
        Ok(Self { http, url: format!("http://{}", server.address), token })
    }

    /// Returns the response to a request. A refusal is a failure.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, Failure> {
        let asked = self.http.request(method, format!("{}/api/v1{path}", self.url)).bearer_auth(&self.token);
        let asked = if let Some(body) = body { asked.json(&body) } else { asked };
        let answer = asked.send().await?;
        match answer.status().is_success() {
            true => Ok(answer.json().await?),
            false => Err(format!("{path}: {}", answer.text().await?).into()),
        }
    }
}
