//! A body with members that an operation does not have is refused, also where the operation has no body at all.

use crate::engines::on_both_engines;
use crate::world::World;
use http::Method;
use serde_json::json;

on_both_engines! {
    an_operation_without_a_body_refuses_members_and_changes_nothing,
    a_read_refuses_members,
}

async fn an_operation_without_a_body_refuses_members_and_changes_nothing(world: World) {
    let owner = world.owner().await;
    let property = owner.post("/properties", json!({"name": "Empty"})).await.created();
    owner.post("/environments", json!({"slug": "qa", "name": "QA", "kind": "test"})).await.created();
    let user = owner.post("/users", json!({"kind": "program", "name": "deploy"})).await.created();
    let user = format!("/users/{}", user["id"].as_str().unwrap());
    let grant = owner.post(&format!("{user}/grants"), json!({"role": "viewer"})).await.created();
    let token = world.user("eve@example.com", "viewer").await.get("/me").await.ok();
    for path in [
        format!("/tokens/{}", token["token_id"].as_str().unwrap()),
        format!("{user}/grants/{}", grant["id"].as_str().unwrap()),
        user.clone(),
        format!("/properties/{}", property["id"].as_str().unwrap()),
        "/environments/qa".to_owned(),
    ] {
        for body in [json!({"nonsense": 1, "confirm_user_name": "wrong"}), json!([]), json!(null)] {
            let problem = owner.delete(&path, body.clone()).await.refused(422, "invalid_body");
            let detail = problem["detail"].as_str().unwrap();
            // The deletion of a user has members.
            let is_said = detail.contains("takes no members") || path == user;
            assert!(is_said && detail.contains("Nothing was changed."), "{path} {detail}");
        }
        // The order of the checks holds: an unknown object comes first.
        let unknown = owner.delete("/users/usr_0000000000000000000000", json!({"nonsense": 1})).await;
        unknown.refused(404, "not_found");
        assert_eq!(owner.delete(&path, json!({})).await.status.as_u16(), 204, "{path}");
        owner.delete(&path, json!({})).await.refused(404, "not_found");
    }
}

async fn a_read_refuses_members(world: World) {
    let owner = world.owner().await;
    for path in ["/me", "/clients", "/environments/staging", "/audit-events/export"] {
        let sent = owner.call(Method::GET, path, Some(r#"{"q": "Billing"}"#.to_owned()), &[]).await;
        sent.refused(422, "invalid_body");
        let sent = owner.call(Method::GET, path, Some("{}".to_owned()), &[]).await;
        assert_eq!(sent.status.as_u16(), 200, "{path}");
    }
}
