//! People, programs, their links and grants: what a manager may do to others, and nobody to themselves.

use crate::world::{Caller, OWNER, World, on_both_engines};
use http::{Method, Request};
use serde_json::{Value, json};
use std::time::Duration;

const PASSWORD: &str = "a sentence that nobody guesses";

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a text")).to_owned()
}

/// A person created through the API, with a role on the platform: the id, and as whom they call.
async fn person<'w>(world: &'w World, email: &str, role: &str) -> (String, Caller<'w>) {
    let owner = world.owner().await;
    let user = text(&owner.post("/users", json!({"email": email})).await.created()["id"]);
    owner.post(&format!("/users/{user}/grants"), json!({"role": role})).await.created();
    (user, world.token_of(email, &[]).await)
}

on_both_engines! {
    async fn a_person_is_created_activated_and_gone(world: World) {
        let owner = world.owner().await;
        let created = owner.post("/users", json!({"email": " Grace@Example.com ", "name": "Grace"})).await.created();
        let user = text(&created["id"]);
        assert_eq!((created["email"].as_str(), created["kind"].as_str(), created["activated"].as_bool()),
            (Some("grace@example.com"), Some("person"), Some(false)));
        let url = text(&created["activation_link"]["url"]);
        assert!(owner.get(&format!("/users/{user}")).await.ok().get("activation_link").is_none(), "told once");
        use_link(&world, &url, 303).await;
        use_link(&world, &url, 410).await;
        assert_eq!(owner.get(&format!("/users/{user}")).await.ok()["activated"], true);
        let grace = world.token_of("grace@example.com", &[]).await;
        assert_eq!(grace.get("/me").await.ok()["user"]["id"], user.as_str());
        assert_eq!(owner.delete(&format!("/users/{user}"), json!({})).await.status.as_u16(), 204);
        grace.get("/me").await.refused(401, "unauthenticated");
        owner.get(&format!("/users/{user}")).await.refused(404, "not_found");
        // Her address is free again, and what she did stays under her id.
        let again = owner.post("/users", json!({"email": "grace@example.com"})).await.created();
        assert_ne!(again["id"], user.as_str());
        let events = owner.get(&format!("/audit-events?actor={user}")).await.ok();
        let actions: Vec<_> = events["items"].as_array().unwrap().iter().map(|event| &event["action"]).collect();
        assert_eq!(actions, ["session.created", "user.activated"]);
    }

    async fn a_newer_link_ends_the_older_and_a_day_ends_both(world: World) {
        let owner = world.owner().await;
        let created = owner.post("/users", json!({"email": "grace@example.com"})).await.created();
        let link = format!("/users/{}/link", text(&created["id"]));
        let first = text(&created["activation_link"]["url"]);
        let second = text(&owner.post(&link, json!({})).await.created()["url"]);
        use_link(&world, &first, 410).await;
        world.advance(Duration::from_secs(24 * 3600));
        use_link(&world, &second, 410).await;
        let third = text(&owner.post(&link, json!({})).await.created()["url"]);
        world.advance(Duration::from_secs(24 * 3600) - Duration::from_micros(1));
        use_link(&world, &third, 303).await;
    }

    async fn a_link_is_given_again_for_ten_minutes_to_the_same_key(world: World) {
        let owner = world.owner().await;
        let body = json!({"email": "grace@example.com"}).to_string();
        let create = async || {
            owner.call(Method::POST, "/users", Some(body.clone()), &[("idempotency-key", "k")]).await.created()
        };
        let first = create().await;
        assert_eq!(create().await, first);
        world.advance(Duration::from_secs(600));
        let late = create().await;
        assert_eq!(late["id"], first["id"]);
        assert!(late["activation_link"].get("url").is_none(), "{late}");
    }

    async fn a_program_has_no_password_and_no_address(world: World) {
        let owner = world.owner().await;
        let created = owner.post("/users", json!({"kind": "program", "name": "CI"})).await.created();
        assert!(created["email"].is_null() && created.get("activation_link").is_none());
        let user = text(&created["id"]);
        owner.post(&format!("/users/{user}/link"), json!({})).await.refused(409, "not_a_person");
        for (body, field) in [
            (json!({"kind": "program", "name": "CI", "email": "ci@example.com"}), "email"),
            (json!({"kind": "program"}), "name"),
            (json!({"name": "Grace"}), "email"),
            (json!({"email": "no address"}), "email"),
            (json!({"email": "a@example.com", "name": "x\u{202e}y"}), "name"),
            (json!({"email": "a@example.com", "password": PASSWORD}), "password"),
        ] {
            assert_eq!(owner.post("/users", body.clone()).await.refused(422, "invalid_body")["field"], field, "{body}");
        }
        let problem = owner.patch(&format!("/users/{user}"), json!({"email": "ci@example.com"})).await;
        assert_eq!(problem.refused(422, "invalid_body")["field"], "email");
        // It acts by a token, and stands in the trail as a program.
        owner.post(&format!("/users/{user}/grants"), json!({"role": "operations_manager"})).await.created();
        let ci = world.token_of(&user, &[]).await;
        ci.post("/properties", json!({"name": "Made by CI"})).await.created();
        let events = owner.get(&format!("/audit-events?actor={user}&outcome=done")).await.ok();
        assert_eq!(events["items"][0]["actor"], json!({"kind": "program", "id": user, "name": "CI"}));
    }

    async fn an_address_belongs_to_one_account(world: World) {
        let owner = world.owner().await;
        let grace = text(&owner.post("/users", json!({"email": "grace@example.com"})).await.created()["id"]);
        let twice = owner.post("/users", json!({"email": "GRACE@example.com"})).await.refused(409, "name_taken");
        assert_eq!(twice["field"], "email");
        let path = format!("/users/{grace}");
        owner.patch(&path, json!({"email": OWNER})).await.refused(409, "name_taken");
        let changed = owner.patch(&path, json!({"name": "Grace", "email": "hopper@example.com"})).await.ok();
        assert_eq!((&changed["name"], &changed["email"]), (&json!("Grace"), &json!("hopper@example.com")));
        owner.call(Method::PATCH, &path, Some(json!({"name": "x"}).to_string()), &[("if-match", "\"1\"")]).await
            .refused(412, "precondition_failed");
    }

    async fn an_operations_manager_gives_no_role_that_sees_secrets(world: World) {
        let owner = world.owner().await;
        let (_, manager) = person(&world, "ops@example.com", "operations_manager").await;
        let user = text(&manager.post("/users", json!({"email": "new@example.com"})).await.created()["id"]);
        let grants = format!("/users/{user}/grants");
        for role in ["owner", "secret_viewer", "secret_rotator"] {
            let problem = manager.post(&grants, json!({"role": role})).await.refused(403, "forbidden");
            assert_eq!(problem["permission"], "owner:manage", "{role}");
        }
        for role in ["viewer", "auditor", "operations_manager"] {
            manager.post(&grants, json!({"role": role})).await.created();
        }
        // Limited to a permission or not, a token gives no more than its owner may.
        let limited = world.token_of("ops@example.com", &["grant:manage", "owner:manage"]).await;
        limited.post(&grants, json!({"role": "owner"})).await.refused(403, "forbidden");
        // Nor an Owner's token that was made for grants alone.
        let narrow = world.token_of(OWNER, &["grant:manage", "user:read"]).await;
        narrow.post(&grants, json!({"role": "secret_viewer"})).await.refused(403, "forbidden");
        owner.post(&grants, json!({"role": "secret_viewer"})).await.created();
    }

    async fn nobody_but_an_owner_changes_their_own_grants(world: World) {
        let owner = world.owner().await;
        let (id, manager) = person(&world, "ops@example.com", "operations_manager").await;
        let grants = format!("/users/{id}/grants");
        manager.post(&grants, json!({"role": "auditor"})).await.refused(403, "forbidden");
        let own = text(&manager.get(&grants).await.ok()["items"][0]["id"]);
        manager.delete(&format!("{grants}/{own}"), json!({})).await.refused(403, "forbidden");
        assert_eq!(manager.get(&grants).await.ok()["items"].as_array().unwrap().len(), 1);
        // An Owner may, and the right is gone at the next request.
        assert_eq!(owner.delete(&format!("{grants}/{own}"), json!({})).await.status.as_u16(), 204);
        manager.get("/users").await.refused(403, "forbidden");
    }

    async fn an_account_that_sees_secrets_is_not_taken_over_with_a_link(world: World) {
        let owner = world.owner().await;
        let (_, manager) = person(&world, "ops@example.com", "operations_manager").await;
        // The manager makes the account and keeps the link; then an Owner trusts the account with secrets.
        let created = manager.post("/users", json!({"email": "rot@example.com"})).await.created();
        let (user, link) = (text(&created["id"]), text(&created["activation_link"]["url"]));
        owner.post(&format!("/users/{user}/grants"), json!({"role": "secret_rotator"})).await.created();
        use_link(&world, &link, 410).await;
        manager.post(&format!("/users/{user}/link"), json!({})).await.refused(403, "forbidden");
        manager.patch(&format!("/users/{user}"), json!({"email": "ops2@example.com"})).await.refused(403, "forbidden");
        let me = text(&owner.get("/me").await.ok()["user"]["id"]);
        manager.post(&format!("/users/{me}/link"), json!({})).await.refused(403, "forbidden");
        manager.delete(&format!("/users/{me}"), json!({})).await.refused(403, "forbidden");
        // To take a right away hands nothing out.
        assert_eq!(manager.delete(&format!("/users/{user}"), json!({})).await.status.as_u16(), 204);
    }

    async fn the_last_owner_stays(world: World) {
        let owner = world.owner().await;
        let me = owner.get("/me").await.ok();
        let (id, grant) = (text(&me["user"]["id"]), text(&me["user"]["grants"][0]["id"]));
        let program = text(&owner.post("/users", json!({"kind": "program", "name": "CI"})).await.created()["id"]);
        owner.post(&format!("/users/{program}/grants"), json!({"role": "owner"})).await.created();
        // A program that is Owner does not count: nobody could help it.
        owner.delete(&format!("/users/{id}/grants/{grant}"), json!({})).await.refused(409, "last_owner");
        owner.delete(&format!("/users/{id}"), json!({})).await.refused(409, "last_owner");
        let (_, second) = person(&world, "second@example.com", "owner").await;
        assert_eq!(owner.delete(&format!("/users/{id}/grants/{grant}"), json!({})).await.status.as_u16(), 204);
        owner.get("/users").await.refused(403, "forbidden");
        assert_eq!(second.delete(&format!("/users/{id}"), json!({})).await.status.as_u16(), 204);
        owner.get("/me").await.refused(401, "unauthenticated");
        second.get("/users").await.ok();
    }

    async fn a_grant_names_what_is_there_and_where_it_means_something(world: World) {
        let client = world.client("Billing", &["staging"]).await;
        let owner = world.owner().await;
        let user = text(&owner.post("/users", json!({"email": "grace@example.com"})).await.created()["id"]);
        let property = text(&owner.get(&format!("/clients/{}", client.id)).await.ok()["property_id"]);
        let grants = format!("/users/{user}/grants");
        for (body, field) in [
            (json!({}), "role"),
            (json!({"role": "root"}), ""),
            (json!({"role": "viewer", "property_id": "prop_0000000000000000000000"}), "property_id"),
            (json!({"role": "viewer", "client_id": "cl_0000000000000000000000"}), "client_id"),
            (json!({"role": "viewer", "property_id": property, "client_id": client.id}), "client_id"),
            (json!({"role": "viewer", "environments": []}), "environments"),
            (json!({"role": "viewer", "environments": ["nowhere"]}), "environments"),
            (json!({"role": "owner", "property_id": property}), "role"),
            (json!({"role": "operations_manager", "environments": ["staging"]}), "role"),
            (json!({"role": "application_manager"}), "role"),
            (json!({"role": "viewer", "scope": "platform"}), "scope"),
        ] {
            let problem = owner.post(&grants, body.clone()).await.refused(422, "invalid_body");
            assert_eq!(problem["field"].as_str().unwrap_or_default(), field, "{body}");
        }
        let body = json!({"role": "secret_rotator", "client_id": client.id, "environments": ["staging"]});
        let grant = owner.post(&grants, body.clone()).await.created();
        owner.post(&grants, body).await.refused(409, "already_granted");
        assert_eq!(owner.get(&grants).await.ok()["items"], json!([grant]));
        assert_eq!(owner.get(&format!("/users/{user}")).await.ok()["grants"], json!([grant]));
        // With the client its grants end, and an environment that is named in one stays.
        let sandbox = json!({"slug": "sandbox", "name": "Sandbox", "kind": "test"});
        owner.post("/environments", sandbox).await.created();
        let limited = owner.post(&grants, json!({"role": "viewer", "environments": ["sandbox"]})).await.created();
        owner.delete("/environments/sandbox", json!({})).await.refused(409, "in_use");
        owner.delete(&format!("{grants}/{}", text(&limited["id"])), json!({})).await;
        assert_eq!(owner.delete("/environments/sandbox", json!({})).await.status.as_u16(), 204);
        owner.delete(&format!("/clients/{}", client.id), json!({"confirm_client_name": "Billing", "reason": "x"})).await;
        assert_eq!(owner.get(&grants).await.ok()["items"], json!([]));
        let ended = owner.get("/audit-events?action=grant.deleted").await.ok();
        assert_eq!(ended["items"][0]["details"]["grant"]["id"], grant["id"]);
        for unknown in ["grant_0000000000000000000000", "usr_0000000000000000000000", "x"] {
            owner.delete(&format!("{grants}/{unknown}"), json!({})).await.refused(404, "not_found");
        }
    }

    async fn only_who_manages_environments_lets_a_client_introspect_others(world: World) {
        let client = world.client("Billing", &["staging"]).await;
        let owner = world.owner().await;
        let user = text(&owner.post("/users", json!({"email": "app@example.com"})).await.created()["id"]);
        let body = json!({"role": "application_manager", "client_id": client.id});
        owner.post(&format!("/users/{user}/grants"), body).await.created();
        let manager = world.token_of("app@example.com", &[]).await;
        let path = client.path("staging", "");
        manager.patch(&path, json!({"scopes": ["a"]})).await.ok();
        let problem = manager.patch(&path, json!({"may_introspect": true})).await.refused(403, "forbidden");
        assert_eq!(problem["permission"], "environment:manage");
        owner.patch(&path, json!({"may_introspect": true})).await.ok();
        // What an Operations Manager has given, the client's manager may keep, and take away.
        manager.patch(&path, json!({"may_introspect": true, "scopes": ["b"]})).await.ok();
        manager.patch(&path, json!({"may_introspect": false})).await.ok();
        manager.patch(&path, json!({"may_introspect": true})).await.refused(403, "forbidden");
    }

    async fn users_are_found_and_paged(world: World) {
        let owner = world.owner().await;
        for n in 0..5 {
            owner.post("/users", json!({"email": format!("person{n}@example.com"), "name": format!("Ada {n}%")})).await.created();
            world.advance(Duration::from_secs(1));
        }
        let (mut path, mut seen) = ("/users?limit=2&q=ADA".to_owned(), Vec::new());
        loop {
            let page = owner.get(&path).await.ok();
            seen.extend(page["items"].as_array().unwrap().iter().map(|it| text(&it["name"])));
            match page["next_cursor"].as_str() {
                Some(cursor) => path = format!("/users?limit=2&q=ADA&cursor={cursor}"),
                None => break,
            }
            // A page is not disturbed by who comes and goes.
            owner.post("/users", json!({"kind": "program", "name": format!("Robot {}", seen.len())})).await.created();
        }
        assert_eq!(seen, ["Ada 0%", "Ada 1%", "Ada 2%", "Ada 3%", "Ada 4%"]);
        assert_eq!(owner.get("/users?q=%25").await.ok()["items"].as_array().unwrap().len(), 5, "taken literally");
        owner.get("/users?name=ada").await.refused(400, "invalid_query");
    }
}

/// Submits the page behind a one-time link.
async fn use_link(world: &World, url: &str, status: u16) {
    let link = url.rsplit('#').next().unwrap();
    let form = [("link", link), ("email", ""), ("password", PASSWORD), ("repeated", PASSWORD)];
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let request = Request::post("/console/link")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body.into())
        .unwrap();
    let answer = world.send(request, [192, 0, 2, 1].into()).await;
    assert_eq!(answer.status.as_u16(), status, "{}", String::from_utf8_lossy(&answer.bytes));
}
