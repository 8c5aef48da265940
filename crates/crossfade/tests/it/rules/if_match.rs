//! A stale `If-Match` changes nothing.

use super::{HOUR, rotate, rotations, text};
use crate::engines::on_both_engines;
use crate::world::World;
use http::Method;
use serde_json::json;

on_both_engines! {
    a_stale_if_match_changes_nothing_412,
    if_match_is_honoured_on_the_other_objects_412,
    if_match_is_honoured_where_something_is_added_412,
}

async fn a_stale_if_match_changes_nothing_412(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let path = client.path("production", "");
    let stale = owner.get(&path).await.header("etag").unwrap().to_owned();
    assert!(stale.starts_with('"') && stale.ends_with('"'), "a strong tag: {stale}");
    rotate(&owner, &client, client.rotation(24)).await.created();
    let fresh = owner.get(&path).await.header("etag").unwrap().to_owned();
    assert_ne!(stale, fresh, "a rotation changes what was read");
    let secret = &client.registration("production").secret_id;
    let rotation = rotations(&owner, &client).await[0]["id"].clone();
    let calls = [
        (Method::POST, client.path("production", "/secrets/rotate"), client.rotation(0)),
        (
            Method::POST,
            client.path("production", &format!("/secrets/{secret}/revoke")),
            json!({"reason": "x"}),
        ),
        (Method::POST, client.path("production", &format!("/secrets/{secret}/reveal")), json!({})),
        (
            Method::POST,
            client.path("production", &format!("/secrets/{secret}/extend")),
            json!({"reason": "x", "expires_at": world.now().after(HOUR * 48).to_string()}),
        ),
        (
            Method::POST,
            client.path("production", &format!("/rotations/{}/rollback", text(&rotation))),
            json!({"reason": "x"}),
        ),
        (Method::PATCH, path.clone(), json!({"scopes": ["a"]})),
    ];
    for tag in [&*stale, "\"0\"", "nonsense", "", "W/\"0\"", "\"0\", \"99\"", &stale.replace('"', "")] {
        for (method, path, body) in &calls {
            let answer = owner.call(method.clone(), path, Some(body.to_string()), &[("if-match", tag)]).await;
            answer.refused(412, "precondition_failed");
        }
    }
    assert_eq!(owner.get(&path).await.header("etag"), Some(&*fresh), "nothing was changed");
    let body = Some(json!({"scopes": ["a"]}).to_string());
    owner.call(Method::PATCH, &path, body.clone(), &[("if-match", &fresh)]).await.ok();
    owner.call(Method::PATCH, &path, body.clone(), &[("if-match", "*")]).await.ok();
    // RFC 9110 §13.1.1: one of a list is enough. Proxies weaken a tag when they compress.
    for list in ["\"0\", TAG", "TAG,\"99\"", "W/TAG", "\"a,b\" , W/TAG", "\"0\", *, TAG"] {
        let tag = owner.get(&path).await.header("etag").unwrap().to_owned();
        let list = list.replace("TAG", &tag);
        owner.call(Method::PATCH, &path, body.clone(), &[("if-match", &list)]).await.ok();
    }
    let tag = owner.get(&path).await.header("etag").unwrap().to_owned();
    owner.call(Method::PATCH, &path, body, &[("if-match", "\"0\""), ("if-match", &tag)]).await.ok();
}

async fn if_match_is_honoured_on_the_other_objects_412(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let client_path = format!("/clients/{}", client.id);
    let property = text(&owner.get(&client_path).await.ok()["property_id"]).to_owned();
    let calls = [
        (Method::PATCH, client_path.clone(), json!({"description": "x"})),
        (Method::DELETE, client_path.clone(), json!({"confirm_client_name": "Billing", "reason": "x"})),
        (Method::PATCH, format!("/properties/{property}"), json!({"name": "x"})),
        (Method::DELETE, format!("/properties/{property}"), json!({})),
        (Method::PATCH, "/environments/staging".to_owned(), json!({"name": "x"})),
        (Method::DELETE, "/environments/staging".to_owned(), json!({})),
    ];
    for (method, path, body) in calls {
        owner
            .call(method, &path, Some(body.to_string()), &[("if-match", "\"999\"")])
            .await
            .refused(412, "precondition_failed");
    }
    let read = owner.get(&client_path).await.header("etag").unwrap().to_owned();
    rotate(&owner, &client, client.rotation(0)).await.created();
    let body = Some(json!({"description": "x"}).to_string());
    owner
        .call(Method::PATCH, &client_path, body, &[("if-match", &read)])
        .await
        .refused(412, "precondition_failed");
}

async fn if_match_is_honoured_where_something_is_added_412(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    for (path, body) in [
        (format!("/clients/{}/environments", client.id), json!({"environment": "staging"})),
        ("/environments/staging/signing-keys/rotate".to_owned(), json!({})),
    ] {
        let answer =
            owner.call(Method::POST, &path, Some(body.to_string()), &[("if-match", "\"999\"")]).await;
        answer.refused(412, "precondition_failed");
    }
}
