//! Bodies that are not JSON.

use super::{mutations, send, snapshot};
use crate::engines::on_both_engines;
use crate::world::World;
use http::Method;
use serde_json::json;

on_both_engines! {
    what_is_not_json_is_invalid_json_400,
    json_is_utf_8_rfc8259_8_1,
}

async fn what_is_not_json_is_invalid_json_400(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let before = snapshot(&owner, &client).await;
    let calls = mutations(&owner, &client).await;
    for (method, path, good) in &calls {
        for body in [
            "{",
            "{\"name\": }",
            "name=Shop",
            "{'name': 'Shop'}",
            "{\"name\": \"a\"} x",
            "{\"a\": 1,}",
            "\u{feff}{}",
            "{\"a\": 01}",
            "{\"a\": NaN}",
            " ",
        ] {
            send(&owner, method, path, body).await.refused(400, "invalid_json");
        }
        for wrong in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/jsonp",
            "application/merge-patch+json",
            "",
        ] {
            let answer =
                owner.call(method.clone(), path, Some(good.to_string()), &[("content-type", wrong)]).await;
            answer.refused(400, "invalid_json");
        }
        if !path.ends_with("/reveal") && !path.contains("/drills/") {
            owner.call(method.clone(), path, None, &[]).await.refused(400, "invalid_json");
        }
    }
    assert_eq!(snapshot(&owner, &client).await, before);
    let charset = [("content-type", "Application/JSON; charset=utf-8")];
    owner
        .call(Method::POST, "/properties", Some(json!({"name": "Shop"}).to_string()), &charset)
        .await
        .created();
}

async fn json_is_utf_8_rfc8259_8_1(world: World) {
    let owner = world.owner().await;
    let request = http::Request::post("/api/v1/properties")
        .header("authorization", format!("Bearer {}", owner.token.clone().unwrap()))
        .header("content-type", "application/json")
        .body(b"{\"name\": \"\xff\xfe\"}".to_vec().into())
        .unwrap();
    world.send(request, [192, 0, 2, 1].into()).await.refused(400, "invalid_json");
}
