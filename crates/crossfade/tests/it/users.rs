//! People, programs, their links and grants: what a manager may do to others, and nobody to themselves.

use crate::engines::on_both_engines;
use crate::{
    console::browser::Browser,
    world::{OWNER, Principal, World},
};
use crossfade_app::OwnerFactors;
use http::Method;
use serde_json::{Value, json};
use std::time::Duration;

on_both_engines! {
    a_person_is_created_activated_and_gone,
    a_newer_link_ends_the_older_and_a_day_ends_both,
    a_link_is_given_again_for_ten_minutes_to_the_same_key,
    a_program_has_no_password_and_no_address,
    an_address_belongs_to_one_account,
    an_operations_manager_gives_no_role_that_sees_secrets,
    nobody_but_an_owner_changes_their_own_grants,
    an_account_that_sees_secrets_is_not_taken_over_with_a_link,
    whoever_activated_an_account_is_out_when_it_gets_to_see_secrets,
    a_role_that_was_taken_away_is_a_first_one_again,
    the_tokens_of_a_program_end_with_its_first_role_that_sees_secrets,
    a_link_ends_the_tokens_of_its_account,
    a_repeated_request_hands_out_no_link_to_whoever_may_not_have_it_now,
    a_link_ends_with_the_right_of_whoever_made_it,
    a_link_takes_no_members,
    the_last_owner_stays,
    a_grant_names_what_is_there_and_where_it_means_something,
    only_who_manages_environments_lets_a_client_introspect_others,
    users_are_found_and_paged,
    a_name_is_found_by_its_start_whatever_its_last_letter_is,
    names_that_fold_alike_survive_the_upgrade,
    a_name_is_found_in_any_case_and_composition_also_one_of_an_older_version,
    whoever_may_read_one_environment_learns_nothing_of_the_others,
}

const PASSWORD: &str = "a sentence that nobody guesses";

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a text")).to_owned()
}

/// A person created through the API, with a role on the platform: the id, and as whom they call.
async fn person<'w>(world: &'w World, email: &str, role: &str) -> (String, Principal<'w>) {
    let owner = world.owner().await;
    let user = text(&owner.post("/users", json!({"email": email})).await.created()["id"]);
    owner.post(&format!("/users/{user}/grants"), json!({"role": role})).await.created();
    (user, world.token_of(email, &[]).await)
}

async fn a_person_is_created_activated_and_gone(world: World) {
    let owner = world.owner().await;
    let created =
        owner.post("/users", json!({"email": " Grace@Example.com ", "name": "Grace"})).await.created();
    let user = text(&created["id"]);
    assert_eq!(
        (created["email"].as_str(), created["kind"].as_str(), created["activated"].as_bool()),
        (Some("grace@example.com"), Some("person"), Some(false))
    );
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
        assert_eq!(
            owner.post("/users", body.clone()).await.refused(422, "invalid_body")["field"],
            field,
            "{body}"
        );
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
    owner
        .call(Method::PATCH, &path, Some(json!({"name": "x"}).to_string()), &[("if-match", "\"1\"")])
        .await
        .refused(412, "precondition_failed");
}

async fn an_operations_manager_gives_no_role_that_sees_secrets(world: World) {
    let owner = world.owner().await;
    let (_, manager) = person(&world, "ops@example.com", "operations_manager").await;
    let user = text(&manager.post("/users", json!({"email": "new@example.com"})).await.created()["id"]);
    let grants = format!("/users/{user}/grants");
    for role in ["owner", "secret_viewer", "secret_rotator", "auditor"] {
        let problem = manager.post(&grants, json!({"role": role})).await.refused(403, "forbidden");
        assert_eq!(problem["permission"], "owner:manage", "{role}");
    }
    for role in ["viewer", "operations_manager"] {
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
    manager
        .patch(&format!("/users/{user}"), json!({"email": "ops2@example.com"}))
        .await
        .refused(403, "forbidden");
    let me = text(&owner.get("/me").await.ok()["user"]["id"]);
    manager.post(&format!("/users/{me}/link"), json!({})).await.refused(403, "forbidden");
    manager.delete(&format!("/users/{me}"), json!({})).await.refused(403, "forbidden");
    // To take a right away hands nothing out.
    assert_eq!(manager.delete(&format!("/users/{user}"), json!({})).await.status.as_u16(), 204);
}

async fn whoever_activated_an_account_is_out_when_it_gets_to_see_secrets(world: World) {
    let owner = world.owner().await;
    let (_, manager) = person(&world, "ops@example.com", "operations_manager").await;
    let created = manager.post("/users", json!({"email": "rot@example.com", "name": "Rot"})).await.created();
    let (user, link) = (text(&created["id"]), text(&created["activation_link"]["url"]));
    let grants = format!("/users/{user}/grants");
    // The manager sets the password, stays signed in, makes a token, and a link for later.
    let browser = world.browser();
    follow(&browser, &link, 303).await;
    let page = browser.post("/console/account/tokens", &[("name", "kept")]).await.page(200);
    let at = page.find("crossfade_api_").unwrap();
    let token = page[at..].split('<').next().unwrap().to_owned();
    let kept = Principal { world: &world, token: Some(token) };
    kept.get("/me").await.ok();
    let later = text(&manager.post(&format!("/users/{user}/link"), json!({})).await.created()["url"]);
    // Roles that see no secrets change nothing of that.
    let viewer = owner.post(&grants, json!({"role": "viewer"})).await.created();
    assert!(viewer.get("activation_link").is_none() && browser.is_signed_in().await);

    let given = owner.post(&grants, json!({"role": "secret_viewer"})).await.created();
    let fresh = text(&given["activation_link"]["url"]);
    assert!(!browser.is_signed_in().await);
    kept.get("/me").await.refused(401, "unauthenticated");
    assert_eq!(browser.sign_in("rot@example.com", PASSWORD).await.status.as_u16(), 422);
    use_link(&world, &later, 410).await;
    assert_eq!(owner.get(&format!("/users/{user}")).await.ok()["activated"], false);
    let ended = owner.get("/audit-events?action=user.deactivated").await.ok();
    assert_eq!(
        ended["items"][0]["details"],
        json!({"had_password": true, "ended_sessions": 1, "ended_tokens": 1, "ended_identities": 0})
    );
    // Nobody but the Owner has seen the new link.
    for reader in [&owner, &manager] {
        let (account, list) =
            (reader.get(&format!("/users/{user}")).await.ok(), reader.get(&grants).await.ok());
        assert!(!format!("{account}{list}").contains("link"), "{account} {list}");
    }
    assert!(!owner.get("/audit-events").await.ok().to_string().contains("#crossfade_link_"));
    manager.post(&format!("/users/{user}/link"), json!({})).await.refused(403, "forbidden");
    use_link(&world, &fresh, 303).await;
    // A second such role finds an account that is its person's own.
    let second = owner.post(&grants, json!({"role": "secret_rotator"})).await.created();
    assert!(second.get("activation_link").is_none());
    assert_eq!(owner.get(&format!("/users/{user}")).await.ok()["activated"], true);
}

async fn a_role_that_was_taken_away_is_a_first_one_again(world: World) {
    let owner = world.owner().await;
    let (user, _) = person(&world, "rot@example.com", "secret_rotator").await;
    let (_, manager) = person(&world, "ops@example.com", "operations_manager").await;
    let grants = format!("/users/{user}/grants");
    let grant = text(&manager.get(&grants).await.ok()["items"][0]["id"]);
    manager.delete(&format!("{grants}/{grant}"), json!({})).await;
    let link = text(&manager.post(&format!("/users/{user}/link"), json!({})).await.created()["url"]);
    use_link(&world, &link, 303).await;
    let given = owner.post(&grants, json!({"role": "secret_rotator"})).await.created();
    assert!(given["activation_link"]["url"].is_string());
    assert_eq!(world.browser().sign_in("rot@example.com", PASSWORD).await.status.as_u16(), 422);
}

async fn the_tokens_of_a_program_end_with_its_first_role_that_sees_secrets(world: World) {
    let owner = world.owner().await;
    let program = text(&owner.post("/users", json!({"kind": "program", "name": "CI"})).await.created()["id"]);
    let grants = format!("/users/{program}/grants");
    owner.post(&grants, json!({"role": "viewer"})).await.created();
    let handed_out = world.token_of(&program, &[]).await;
    handed_out.get("/me").await.ok();
    let given = owner.post(&grants, json!({"role": "secret_rotator"})).await.created();
    assert!(given.get("activation_link").is_none(), "a program has no password");
    handed_out.get("/me").await.refused(401, "unauthenticated");
    world.token_of(&program, &[]).await.get("/me").await.ok();
}

async fn a_link_ends_the_tokens_of_its_account(world: World) {
    let owner = world.owner().await;
    let (user, viewer) = person(&world, "grace@example.com", "viewer").await;
    let link = text(&owner.post(&format!("/users/{user}/link"), json!({})).await.created()["url"]);
    viewer.get("/me").await.ok();
    use_link(&world, &link, 303).await;
    viewer.get("/me").await.refused(401, "unauthenticated");
    let used = owner.get("/audit-events?action=user.activated").await.ok();
    assert_eq!(used["items"][0]["details"]["ended_tokens"], 1);
    assert_eq!(used["items"][0]["source_ip"], "192.0.2.1");
    assert!(used["items"][0]["request_id"].is_string());
}

async fn a_repeated_request_hands_out_no_link_to_whoever_may_not_have_it_now(world: World) {
    let owner = world.owner().await;
    let (_, manager) = person(&world, "ops@example.com", "operations_manager").await;
    let again = async |principal: &Principal<'_>, path: &str, body: &Value, key: &str| {
        principal.call(Method::POST, path, Some(body.to_string()), &[("idempotency-key", key)]).await
    };
    let body = json!({"email": "new@example.com"});
    let created = again(&manager, "/users", &body, "create").await.created();
    let user = text(&created["id"]);
    let (link, grants) = (format!("/users/{user}/link"), format!("/users/{user}/grants"));
    again(&manager, &link, &json!({}), "link").await.created();
    let role = json!({"role": "secret_viewer"});
    let given = again(&owner, &grants, &role, "grant").await.created();
    // The account is beyond the manager by now.
    again(&manager, &link, &json!({}), "link").await.refused(403, "forbidden");
    let replayed = again(&manager, "/users", &body, "create").await.created();
    assert_eq!(replayed["id"], user.as_str());
    assert!(replayed["activation_link"].get("url").is_none(), "{replayed}");
    // The Owner has the link again; a token of theirs that may not give the role, or make links, has not.
    assert_eq!(again(&owner, &grants, &role, "grant").await.created(), given);
    for scope in [["user:read", "grant:manage", "owner:manage"], ["user:read", "grant:manage", "user:manage"]]
    {
        let narrow = world.token_of(OWNER, &scope).await;
        let replayed = again(&narrow, &grants, &role, "grant").await.created();
        assert!(replayed["activation_link"].get("url").is_none(), "{replayed}");
    }
}

async fn a_link_ends_with_the_right_of_whoever_made_it(world: World) {
    let owner = world.owner().await;
    let (manager_id, manager) = person(&world, "ops@example.com", "operations_manager").await;
    let created = manager.post("/users", json!({"email": "new@example.com"})).await.created();
    let (user, link) = (text(&created["id"]), text(&created["activation_link"]["url"]));
    let grants = format!("/users/{manager_id}/grants");
    let grant = text(&owner.get(&grants).await.ok()["items"][0]["id"]);
    owner.delete(&format!("{grants}/{grant}"), json!({})).await;
    use_link(&world, &link, 410).await;
    // Given back, it is theirs to have made.
    owner.post(&grants, json!({"role": "operations_manager"})).await.created();
    assert!(world.app.read_link(link.rsplit('#').next().unwrap(), None).await.is_ok());
    owner.delete(&format!("/users/{manager_id}"), json!({})).await;
    use_link(&world, &link, 410).await;
    let own = text(&owner.post(&format!("/users/{user}/link"), json!({})).await.created()["url"]);
    use_link(&world, &own, 303).await;
    // A link from the machine is nobody's.
    let recovered = world.app.recover_owner(OWNER, OwnerFactors::Keep).await.unwrap();
    use_link(&world, &recovered.url, 303).await;
}

async fn a_link_takes_no_members(world: World) {
    let owner = world.owner().await;
    let (user, _) = person(&world, "grace@example.com", "viewer").await;
    let path = format!("/users/{user}/link");
    let problem = owner.post(&path, json!({"expires_days": 7})).await.refused(422, "invalid_body");
    assert_eq!(problem["field"], "expires_days");
    owner.post(&path, json!([])).await.refused(422, "invalid_body");
    assert_eq!(
        world.number("SELECT COUNT(*) FROM links WHERE user_id IS NOT NULL").await,
        1,
        "the first one"
    );
    owner.call(Method::POST, &path, None, &[]).await.created();
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
        (json!({"role": "root"}), "role"),
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
    let mut grant = owner.post(&grants, body.clone()).await.created();
    grant.as_object_mut().unwrap().remove("activation_link").unwrap();
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
    owner
        .delete(&format!("/clients/{}", client.id), json!({"confirm_client_name": "Billing", "reason": "x"}))
        .await;
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
        owner
            .post("/users", json!({"email": format!("person{n}@example.com"), "name": format!("Ada {n}%")}))
            .await
            .created();
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
        owner
            .post("/users", json!({"kind": "program", "name": format!("Robot {}", seen.len())}))
            .await
            .created();
    }
    assert_eq!(seen, ["Ada 0%", "Ada 1%", "Ada 2%", "Ada 3%", "Ada 4%"]);
    assert_eq!(owner.get("/users?q=%25").await.ok()["items"].as_array().unwrap().len(), 5, "taken literally");
    owner.get("/users?name=ada").await.refused(400, "invalid_query");
}

async fn a_name_is_found_by_its_start_whatever_its_last_letter_is(world: World) {
    let owner = world.owner().await;
    owner.post("/users", json!({"email": "κώστας@example.com", "name": "ΚΩΣΤΑΣΑ"})).await.created();
    owner.post("/users", json!({"kind": "program", "name": "ΚΩΣΤΑΣ"})).await.created();
    world.client("ΚΩΣΤΑΣΑ", &["production"]).await;
    let browser = world.signed_in().await;
    let found = async |path: &str| owner.get(path).await.ok()["items"].as_array().unwrap().len();
    // The final form, the other one, and capitals; then names of an older version.
    let queries = [
        "%CE%BA%CF%89%CF%83%CF%84%CE%B1%CF%82",
        "%CE%BA%CF%89%CF%83%CF%84%CE%B1%CF%83",
        "%CE%9A%CE%A9%CE%A3%CE%A4%CE%91%CE%A3",
    ];
    for is_old in [false, true] {
        if is_old {
            world.raw("UPDATE users SET name_key = 'κωστας' WHERE name = 'ΚΩΣΤΑΣ'; UPDATE clients SET name = 'ΚΩΣΤΑΣ', name_key = 'κωστας'").await;
            world.raw(include_str!("../../../store/migrations/0025_sigma.sql")).await;
        }
        for q in queries {
            assert_eq!(found(&format!("/users?q={q}")).await, 2, "{q} {is_old}");
            assert_eq!(found(&format!("/clients?q={q}")).await, 1, "{q} {is_old}");
            for path in ["people", "clients"] {
                let page = browser.get(&format!("/console/{path}?q={q}")).await.page(200);
                assert!(page.contains("ΚΩΣΤΑΣ</") || page.contains("ΚΩΣΤΑΣΑ</"), "{path} {q} {is_old}");
            }
        }
        assert_eq!(
            found("/users?q=%CE%BA%CF%8E%CF%83%CF%84%CE%B1%CF%82@EXAMPLE").await,
            1,
            "an address {is_old}"
        );
    }
}

async fn names_that_fold_alike_survive_the_upgrade(world: World) {
    let owner = world.owner().await;
    for name in ["one", "two", "three"] {
        owner.post("/properties", json!({"name": name})).await.created();
        world.client(name, &["production"]).await;
    }
    world.raw("UPDATE clients SET property_id = (SELECT property_id FROM clients WHERE name = 'one')").await;
    for table in ["properties", "clients"] {
        world.raw(&format!(
                "UPDATE {table} SET name_key = 'κωστας' WHERE name = 'one'; UPDATE {table} SET name_key = 'κωστασ' WHERE name = 'two'; \
                 UPDATE {table} SET name_key = 'σας' WHERE name = 'three'"
            )).await;
    }
    world.raw(include_str!("../../../store/migrations/0025_sigma.sql")).await;
    for table in ["properties", "clients"] {
        let rows = |key: &str| format!("SELECT COUNT(*) FROM {table} WHERE name_key = '{key}'");
        for key in ["κωστας", "κωστασ", "σασ"] {
            assert_eq!(world.number(&rows(key)).await, 1, "{table} {key}");
        }
    }
    owner.post("/properties", json!({"name": "ΣΑΣ"})).await.refused(409, "name_taken");
}

async fn a_name_is_found_in_any_case_and_composition_also_one_of_an_older_version(mut world: World) {
    let owner = world.owner().await;
    let first = text(
        &owner.post("/users", json!({"email": "e@example.com", "name": "Élodie"})).await.created()["id"],
    );
    owner.post("/users", json!({"email": "o@example.com", "name": "ÅSA"})).await.created();
    let found = async |world: &World, q: &str| {
        let list = world.owner().await.get(&format!("/users?q={q}")).await.ok();
        list["items"].as_array().unwrap().iter().map(|it| text(&it["name"])).collect::<Vec<_>>()
    };
    let looks = [
        ("%C3%89lodie", "Élodie"),
        ("%C3%A9LODIE", "Élodie"),
        ("E%CC%81lodie", "Élodie"),
        ("%C3%A5sa", "ÅSA"),
    ];
    for (q, name) in looks {
        assert_eq!(found(&world, q).await, [name], "{q}");
    }
    owner.patch(&format!("/users/{first}"), json!({"name": "ÉLISE"})).await.ok();
    assert_eq!(found(&world, "%C3%A9lise").await, ["ÉLISE"]);
    world.raw("UPDATE users SET name_key = NULL").await;
    world.restart().await;
    assert_eq!(found(&world, "%C3%A9lise").await, ["ÉLISE"]);
    assert_eq!(world.number("SELECT COUNT(*) FROM users WHERE name_key IS NULL").await, 0);
}

/// Submits the page behind a one-time link.
async fn use_link(world: &World, url: &str, status: u16) {
    follow(&world.browser().from([192, 0, 2, 1]), url, status).await;
}

/// Submits the page behind a one-time link in a browser that stays signed in.
async fn follow(browser: &Browser<'_>, url: &str, status: u16) {
    let link = url.rsplit('#').next().unwrap();
    let form = [("link", link), ("email", ""), ("password", PASSWORD), ("repeated", PASSWORD)];
    let answer = browser.post("/console/link", &form).await;
    assert_eq!(answer.status.as_u16(), status, "{}", answer.text());
}

async fn whoever_may_read_one_environment_learns_nothing_of_the_others(world: World) {
    let client = world.client("Billing", &["staging", "production"]).await;
    let hidden = client.registration("production").client_id.clone();
    let seen = client.registration("staging").client_id.clone();
    let owner = world.owner().await;
    let user = owner.post("/users", json!({"email": "eve@example.com"})).await.created();
    let grant = json!({"role": "viewer", "environments": ["staging"]});
    owner.post(&format!("/users/{}/grants", user["id"].as_str().unwrap()), grant).await.created();
    owner.patch("/environments/production", json!({"max_age_days": 1})).await.ok();
    owner.patch("/environments/staging", json!({"max_age_days": null})).await.ok();
    world.advance(Duration::from_secs(2 * 86_400));
    let eve = world.token_of("eve@example.com", &[]).await;
    let found = async |who: &Principal<'_>, query: &str| {
        who.get(&format!("/clients?{query}")).await.ok()["items"].as_array().unwrap().len()
    };
    // The Owner finds it by everything; she by what she may read, and by nothing else.
    for (query, by_eve) in [
        ("q=billing".to_owned(), 1),
        (format!("q={seen}"), 1),
        (format!("q={hidden}"), 0),
        ("environment=staging".to_owned(), 1),
        ("environment=production".to_owned(), 0),
        ("overdue=true".to_owned(), 0),
    ] {
        assert_eq!((found(&owner, &query).await, found(&eve, &query).await), (1, by_eve), "{query}");
    }
    let path = format!("/clients/{}", client.id);
    let tag = async |who: &Principal<'_>| who.get(&path).await.header("etag").unwrap().to_owned();
    let (of_owner, of_eve) = (tag(&owner).await, tag(&eve).await);
    owner.post(&client.path("production", "/secrets/rotate"), client.rotation(24)).await.created();
    assert_ne!(tag(&owner).await, of_owner);
    assert_eq!(tag(&eve).await, of_eve, "a rotation that she may not see changes nothing for her");
    owner.post(&client.path("staging", "/secrets/rotate"), client.rotation(24)).await.created();
    assert_ne!(tag(&eve).await, of_eve);
    for absent in ["production", "development"] {
        let refused = eve.get(&client.path(absent, "/secrets")).await;
        assert_eq!(
            refused.refused(404, "not_found")["detail"],
            eve.get(&client.path("nowhere", "/secrets")).await.refused(404, "not_found")["detail"]
        );
    }
}
