//! Principals of the API.

use super::{Answer, World};
use axum::body::Body;
use crossfade_core::{Code, Operation};
use http::{HeaderName, HeaderValue, Method, Request, header};
use serde_json::Value;
use std::net::IpAddr;

/// An account that acts in the API with a token, or without one.
#[derive(Clone)]
pub struct Principal<'w> {
    pub world: &'w World,
    pub token: Option<String>,
}

impl Principal<'_> {
    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None, &[]).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, Some(body.to_string()), &[]).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.call(Method::PATCH, path, Some(body.to_string()), &[]).await
    }

    pub async fn delete(&self, path: &str, body: Value) -> Answer {
        self.call(Method::DELETE, path, Some(body.to_string()), &[]).await
    }

    /// Any call, with headers; `path` stands under `/api/v1`.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("/api/v1{path}"));
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if body.is_some() && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        for (name, value) in headers {
            request =
                request.header(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
        }
        let method = request.method_ref().cloned().unwrap_or_default();
        let request = request.body(body.map_or_else(Body::empty, Body::from)).unwrap();
        let answer = self.world.send(request, IpAddr::from([192, 0, 2, 200])).await;
        is_documented(&method, path, &answer);
        answer
    }
}

/// Checks that an operation is only refused as its documentation says. So every test is a test of that.
fn is_documented(method: &Method, path: &str, answer: &Answer) {
    let path = path.split('?').next().unwrap();
    let matches = |operation: &&Operation| {
        let (own, asked) = (operation.path().split('/'), path.split('/'));
        operation.method().as_str() == method.as_str()
            && own.clone().count() == asked.clone().count()
            && own.zip(asked).all(|(own, asked)| own == asked || own.starts_with('{') && !asked.is_empty())
    };
    // A literal part wins over a parameter, as in the router.
    let found = Operation::ALL.iter().filter(matches).min_by_key(|it| it.parameters().count());
    let (Some(operation), true) = (found, answer.status.as_u16() >= 400) else { return };
    let code = answer.json()["code"].as_str().and_then(Code::parse).unwrap();
    assert!(operation.codes().contains(&code), "{operation:?} does not document {code:?}");
}
