//! The order of the checks.

use super::{NO_ROTATION, NO_SECRET, NOBODY, snapshot};
use crate::engines::on_both_engines;
use crate::world::{Principal, World};
use http::Method;
use serde_json::json;

on_both_engines! {
    checks_come_in_the_contract_s_order,
    a_missing_secret_is_404_before_anything_else_is_412,
    a_request_that_contradicts_itself_is_422_before_409,
    a_path_that_is_no_text_is_401_without_a_token,
}

async fn checks_come_in_the_contract_s_order(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let viewer = world.user("viewer@example.com", "viewer").await;
    let rotated =
        owner.post(&client.path("production", "/secrets/rotate"), client.rotation(24)).await.created();
    assert_eq!(rotated["previous_secret"]["state"], "retiring");
    let before = snapshot(&owner, &client).await;
    let rotate = client.path("production", "/secrets/rotate");
    let nowhere = format!("/clients/{NOBODY}/environments/production/secrets/rotate");
    let stale = [("if-match", "\"999\"")];
    let good = client.rotation(24).to_string();
    let call = async |principal: &Principal<'_>, path: &str, body: &str, headers: &[(&str, &str)]| {
        principal.call(Method::POST, path, Some(body.to_owned()), headers).await
    };

    call(&world.anonymous(), &nowhere, "{", &stale).await.refused(401, "unauthenticated");
    call(&world.anonymous(), &format!("{rotate}?a=1&a=2"), "{", &[("idempotency-key", "")])
        .await
        .refused(401, "unauthenticated");
    call(&viewer, &nowhere, "{", &stale).await.refused(400, "invalid_json");
    call(&viewer, &nowhere, "{}", &[("content-type", "text/plain")]).await.refused(400, "invalid_json");
    call(&viewer, &nowhere, "{}", &stale).await.refused(404, "not_found");
    call(&viewer, &rotate, "{}", &stale).await.refused(403, "forbidden");
    call(&viewer, &rotate, "{}", &[]).await.refused(403, "forbidden");
    call(&owner, &rotate, "{}", &stale).await.refused(412, "precondition_failed");
    call(&owner, &rotate, &good, &stale).await.refused(412, "precondition_failed");
    call(&owner, &rotate, "{}", &[]).await.refused(422, "transition_out_of_range");
    call(&owner, &rotate, &json!({"transition_hours": 24, "confirm_client_name": "x"}).to_string(), &[])
        .await
        .refused(422, "confirmation_mismatch");
    let emergency = json!({"transition_hours": 24, "confirm_client_name": "Billing", "compromised": true, "expected_current_secret_id": NO_SECRET});
    call(&owner, &rotate, &emergency.to_string(), &[]).await.refused(422, "compromised_needs_zero");
    call(&owner, &rotate, &good, &[]).await.refused(409, "transition_in_progress");
    assert_eq!(snapshot(&owner, &client).await, before);
}

async fn a_missing_secret_is_404_before_anything_else_is_412(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let stale = [("if-match", "\"999\"")];
    for rest in [
        format!("/secrets/{NO_SECRET}/reveal"),
        format!("/secrets/{NO_SECRET}/revoke"),
        format!("/secrets/{NO_SECRET}/extend"),
        format!("/rotations/{NO_ROTATION}/rollback"),
    ] {
        owner
            .call(Method::POST, &client.path("production", &rest), Some("{}".to_owned()), &[])
            .await
            .refused(404, "not_found");
        owner
            .call(Method::POST, &client.path("production", &rest), Some("{}".to_owned()), &stale)
            .await
            .refused(404, "not_found");
    }
}

async fn a_request_that_contradicts_itself_is_422_before_409(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let rotate = client.path("production", "/secrets/rotate");
    // No secret ends with this, whatever the state: so there are no tokens to end.
    let body = json!({"transition_hours": 24, "confirm_client_name": "Billing", "revoke_tokens": true});
    owner.post(&rotate, body.clone()).await.refused(422, "invalid_body");
    owner.post(&rotate, client.rotation(24)).await.created();
    owner.post(&rotate, body).await.refused(422, "invalid_body");
}

async fn a_path_that_is_no_text_is_401_without_a_token(world: World) {
    for path in ["/clients/%FF", "/clients/x", "/clients/%FF/environments/production"] {
        world.anonymous().get(path).await.refused(401, "unauthenticated");
    }
}
