//! Provisioning by SCIM 2.0: what a provider can do, and what it cannot.

mod groups;
mod leavers;
mod tokens;
mod users;

use super::idp::{CLIENT_ID, Idp, SECRET};
use crate::world::{Answer, World};
use axum::body::Body;
use http::{Method, Request};
use serde_json::{Value, json};
use std::net::IpAddr;

/// A provider that provisions.
struct Scim<'w> {
    world: &'w World,
    id: String,
    token: String,
}

impl<'w> Scim<'w> {
    /// Adds a provider with a token.
    async fn add(world: &'w World, idp: &Idp, name: &str, settings: Value) -> Self {
        let id = super::add(world, idp, name, settings).await;
        Self::of(world, id).await
    }

    /// Adds a provider that is never asked.
    async fn without_idp(world: &'w World, name: &str, settings: Value) -> Self {
        let mut body = json!({
            "name": name, "issuer": "https://id.example.com", "client_id": CLIENT_ID, "client_secret": SECRET,
            "domains": ["example.com"],
        });
        body.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let created = world.owner().await.post("/providers", body).await.created();
        Self::of(world, created["id"].as_str().unwrap().to_owned()).await
    }

    async fn of(world: &'w World, id: String) -> Self {
        let created = world.owner().await.post(&tokens_of(&id), json!({})).await.created();
        Self { world, id, token: created["value"].as_str().unwrap().to_owned() }
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("/scim/v2/{}{path}", self.id));
        request = request.header("authorization", format!("Bearer {}", self.token));
        if body.is_some() {
            request = request.header("content-type", "application/scim+json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        self.world.send(request.body(body).unwrap(), IpAddr::from([192, 0, 2, 50])).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None, &[]).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, Some(body), &[]).await
    }

    async fn put(&self, path: &str, body: Value) -> Answer {
        self.call(Method::PUT, path, Some(body), &[]).await
    }

    async fn patch(&self, path: &str, operations: Value) -> Answer {
        let body =
            json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations});
        self.call(Method::PATCH, path, Some(body), &[]).await
    }

    async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path, None, &[]).await
    }

    /// Provisions a person whose `externalId` is the name. Returns the ID.
    async fn person(&self, name: &str) -> String {
        let body =
            json!({"userName": format!("{name}@example.com"), "externalId": name, "displayName": name});
        id_of(&self.post("/Users", body).await.created())
    }

    /// Provisions a group. Returns the ID.
    async fn group(&self, name: &str, members: &[&str]) -> String {
        let members: Vec<Value> = members.iter().map(|id| json!({"value": id})).collect();
        id_of(&self.post("/Groups", json!({"displayName": name, "members": members})).await.created())
    }

    /// Returns the resources that a filter finds.
    async fn find(&self, list: &str, filter: &str) -> Vec<Value> {
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("filter", filter).finish();
        let page = self.get(&format!("/{list}?{query}")).await.ok();
        assert_eq!(page["totalResults"], page["itemsPerPage"], "{page}");
        page["Resources"].as_array().unwrap().clone()
    }
}

fn tokens_of(provider: &str) -> String {
    format!("/providers/{provider}/provisioning-tokens")
}

fn id_of(resource: &Value) -> String {
    resource["id"].as_str().unwrap().to_owned()
}

/// Checks that a request was refused in the form of the standard.
#[track_caller]
fn refused(answer: &Answer, status: u16, word: Option<&str>) -> String {
    let body = answer.json();
    assert_eq!(answer.status.as_u16(), status, "{body}");
    assert_eq!(answer.header("content-type"), Some("application/scim+json"));
    assert_eq!(body["schemas"], json!(["urn:ietf:params:scim:api:messages:2.0:Error"]));
    assert_eq!(
        (body["status"].as_str(), body["scimType"].as_str()),
        (Some(&*status.to_string()), word),
        "{body}"
    );
    body["detail"].as_str().unwrap().to_owned()
}
