//! Unknown routes and wrong methods.

use super::NO_SECRET;
use crate::engines::on_both_engines;
use crate::world::World;
use http::Method;

on_both_engines! {
    unknown_routes_are_404_and_wrong_methods_405_with_allow,
    the_root_of_the_api_is_an_unknown_route_of_it,
}

async fn unknown_routes_are_404_and_wrong_methods_405_with_allow(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    for path in ["/nothing", "/clients/x/y", "/secrets", "/properties/x/y", "/audit-events/1", "/users/x/y/z"]
    {
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
            owner.call(method, path, None, &[]).await.refused(404, "not_found");
        }
    }
    let secret = client.path("production", &format!("/secrets/{NO_SECRET}/reveal"));
    for (method, path, allowed) in [
        (Method::PUT, "/properties", ["GET", "POST"].as_slice()),
        (Method::DELETE, "/properties", &["GET", "POST"]),
        (Method::POST, "/properties/x", &["GET", "PATCH", "DELETE"]),
        (Method::GET, &client.path("production", "/secrets/rotate"), &["POST"]),
        (Method::GET, &secret, &["POST"]),
        (Method::PUT, &secret, &["POST"]),
        (Method::DELETE, "/audit-events", &["GET"]),
        (Method::POST, "/tokens", &["GET"]),
        (Method::OPTIONS, "/clients", &["GET", "POST"]),
        (Method::TRACE, "/clients", &["GET", "POST"]),
    ] {
        let answer = owner.call(method.clone(), path, None, &[]).await;
        let allow = answer.header("allow").unwrap_or_default().to_owned();
        answer.refused(405, "method_not_allowed");
        for name in allowed {
            assert!(allow.split(',').any(|it| it.trim() == *name), "{method} {path}: {allow}");
        }
    }
}

async fn the_root_of_the_api_is_an_unknown_route_of_it(world: World) {
    let owner = world.owner().await;
    for path in ["", "/"] {
        owner.get(path).await.refused(404, "not_found");
    }
}
