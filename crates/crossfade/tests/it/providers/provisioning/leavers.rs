//! Leavers: who is gone at the provider is gone here.

use super::{Scim, refused};
use crate::{
    engines::on_both_engines,
    providers::{account, begun, events, idp::Idp, sign_in, signed_in},
    world::{OWNER, World},
};
use serde_json::{Value, json};

on_both_engines! {
    everything_of_a_leaver_ends_at_the_next_request,
    a_leaver_who_can_still_sign_in_at_the_provider_is_not_let_in,
    nobody_comes_back_by_omission_or_by_a_slip,
    a_leaver_without_the_claim_gets_no_account,
    a_sign_in_that_began_before_a_person_was_deleted_creates_no_account,
    a_claim_stays_while_people_are_linked_by_it,
    a_person_who_comes_back_gets_an_account_without_the_past,
    the_last_owner_and_the_emergency_owner_are_kept,
    a_person_who_is_deleted_is_forgotten_and_can_come_back,
    a_quarantine_gives_nothing_and_takes_away,
}

fn activity(active: bool) -> Value {
    json!([{"op": "Replace", "path": "active", "value": active}])
}

async fn everything_of_a_leaver_ends_at_the_next_request(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let groups = json!({"groups_from": "provisioning", "group_grants": [{"group": "Staff", "role": "operations_manager"}]});
    let scim = Scim::add(&world, &idp, "Example", groups).await;
    let ada = scim.person("ada").await;
    scim.group("Staff", &[&ada]).await;
    let browser = signed_in(&world, &idp, &scim.id, json!({})).await;
    browser.get("/console/clients").await.page(200);
    let token = world.token_of("ada@example.com", &[]).await;
    token.get("/clients").await.ok();
    let owner = world.owner().await;
    let own = account(&world, "ada@example.com").await;
    let id = own["id"].as_str().unwrap().to_owned();
    let link = owner.post(&format!("/users/{id}/link"), json!({})).await.created();
    let code = link["url"].as_str().unwrap().rsplit('#').next().unwrap().to_owned();
    let client = world.client("Billing", &["staging"]).await;
    let path = format!("/clients/{}", client.id);
    owner
        .patch(
            &path,
            json!({"owners": ["ada@example.com", "team@example.com"], "confirm_client_name": "Billing"}),
        )
        .await
        .ok();
    scim.patch(&format!("/Users/{ada}"), activity(false)).await.ok();
    // The open page, the token and the link: each at its next request.
    assert!(!browser.is_signed_in().await);
    let answer = browser.get("/console/clients").await;
    assert!(answer.status.is_redirection(), "{}", answer.status);
    token.get("/clients").await.refused(401, "unauthenticated");
    let password = "a sentence that nobody guesses";
    let form = [("link", &*code), ("email", ""), ("password", password), ("repeated", password)];
    let answer = world.browser().post("/console/link", &form).await;
    assert_eq!(answer.status.as_u16(), 410);
    assert_eq!(owner.get(&path).await.ok()["owners"], json!(["team@example.com"]));
    owner.get(&format!("/users/{id}")).await.refused(404, "not_found");
    for table in ["grants WHERE provider_id IS NOT NULL", "identities", "links"] {
        assert_eq!(world.number(&format!("SELECT COUNT(*) FROM {table}")).await, 0, "{table}");
    }
    let told = events(&world, 20).await;
    for action in ["scim_user.updated", "client.handed_over", "user.deleted", "token.deleted"] {
        assert!(told.iter().any(|(own, _)| own == action), "{action}: {told:?}");
    }
    let trail = owner.get("/audit-events?action=user.deleted").await.ok();
    let actor = &trail["items"][0]["actor"];
    assert_eq!(
        (&actor["kind"], &actor["id"], &actor["name"]),
        (&json!("policy"), &json!(scim.id), &json!("Provisioning by Example"))
    );
    // A node that knew the person, and one that begins.
    world.restart().await;
}

async fn a_leaver_who_can_still_sign_in_at_the_provider_is_not_let_in(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let scim = Scim::add(&world, &idp, "Example", json!({})).await;
    let ada = scim.person("ada").await;
    signed_in(&world, &idp, &scim.id, json!({})).await;
    scim.patch(&format!("/Users/{ada}"), activity(false)).await.ok();
    let page = sign_in(&world.browser(), &world, &idp, &scim.id, json!({})).await.page(403);
    assert!(page.contains("has deactivated your account"), "{page}");
    assert_eq!(world.number("SELECT COUNT(*) FROM users WHERE deleted_at IS NULL").await, 1);
}

async fn nobody_comes_back_by_omission_or_by_a_slip(mut world: World) {
    begun(&mut world).await;
    let scim = Scim::without_idp(&world, "Example", json!({})).await;
    let path = format!("/Users/{}", scim.person("ada").await);
    let body = json!({"userName": "ada@example.com", "externalId": "ada", "displayName": "A."});
    assert_eq!(scim.put(&path, body.clone()).await.ok()["active"], true);
    let own = "urn:ietf:params:scim:schemas:core:2.0:User";
    for (operations, word) in [
        (json!([{"op": "remove", "path": "active"}]), "invalidValue"),
        (json!([{"op": "replace", "path": "active", "value": null}]), "invalidValue"),
        (json!([{"op": "replace", "value": {"active": null}}]), "invalidValue"),
        (json!([{"op": "replace", "value": {"actve": false}}]), "invalidPath"),
        (json!([{"op": "replace", "value": {own: {"active": false}}}]), "invalidPath"),
        (json!([{"op": "replace", "path": format!("{own}:actve"), "value": false}]), "invalidPath"),
    ] {
        refused(&scim.patch(&path, operations).await, 400, Some(word));
    }
    let mut null = body.clone();
    null["active"] = Value::Null;
    refused(&scim.put(&path, null).await, 400, Some("invalidValue"));
    assert_eq!(scim.get(&path).await.ok()["active"], true);
    let extension = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
    let known =
        json!([{"op": "replace", "value": {"Active": false, "title": "x", extension: {"department": "x"}}}]);
    assert_eq!(scim.patch(&path, known).await.ok()["active"], false);
    let mut other = body;
    other["displayName"] = "B.".into();
    assert_eq!(scim.put(&path, other).await.ok()["active"], false);
    assert_eq!(world.number("SELECT COUNT(*) FROM users WHERE deleted_at IS NULL").await, 1);
    // The provider is not told that an account is gone that only its address connects with the person.
    world.user("bob@example.com", "viewer").await;
    let gone = json!({"userName": "bob@example.com", "externalId": "bob", "active": false});
    refused(&scim.post("/Users", gone).await, 409, Some("uniqueness"));
}

async fn a_leaver_without_the_claim_gets_no_account(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let scim = Scim::add(&world, &idp, "Example", json!({"external_id_claim": "oid"})).await;
    let path = format!("/Users/{}", scim.person("ada").await);
    scim.patch(&path, activity(false)).await.ok();
    for claims in [json!({}), json!({"oid": "another"})] {
        let page = sign_in(&world.browser(), &world, &idp, &scim.id, claims).await.page(403);
        assert!(page.contains("has deactivated your account"), "{page}");
    }
    // Also where a manager gave the account of an active person another address.
    scim.patch(&path, activity(true)).await.ok();
    let own = account(&world, "ada@example.com").await;
    let own = format!("/users/{}", own["id"].as_str().unwrap());
    world.owner().await.patch(&own, json!({"email": "lovelace@example.com"})).await.ok();
    let page = sign_in(&world.browser(), &world, &idp, &scim.id, json!({})).await.page(403);
    assert!(page.contains("linked with another account"), "{page}");
    assert_eq!(world.number("SELECT COUNT(*) FROM users WHERE deleted_at IS NULL").await, 2);
}

async fn a_sign_in_that_began_before_a_person_was_deleted_creates_no_account(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let scim = Scim::add(&world, &idp, "Example", json!({})).await;
    let ada = scim.person("ada").await;
    // Ada is at the provider when it deletes her; her sign-in would have begun before, or at this moment.
    assert_eq!(scim.delete(&format!("/Users/{ada}")).await.status, 204);
    let later = "UPDATE providers SET person_deleted_at = person_deleted_at + 60000000";
    world.raw(later).await;
    let answer = sign_in(&world.browser(), &world, &idp, &scim.id, json!({})).await;
    assert!(answer.status.is_client_error(), "{}", answer.status);
    assert_eq!(world.number("SELECT COUNT(*) FROM users WHERE deleted_at IS NULL").await, 1);
    // Whoever begins later is not known any more.
    world.raw("UPDATE providers SET person_deleted_at = person_deleted_at - 120000000").await;
    signed_in(&world, &idp, &scim.id, json!({})).await;
    assert_eq!(world.number("SELECT COUNT(*) FROM users WHERE deleted_at IS NULL").await, 2);
}

async fn a_claim_stays_while_people_are_linked_by_it(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let scim = Scim::add(&world, &idp, "Example", json!({})).await;
    let path = format!("/providers/{}", scim.id);
    let owner = world.owner().await;
    let ada = scim.person("ada").await;
    // Nobody has signed in with it: a wrong claim can be corrected.
    owner.patch(&path, json!({"external_id_claim": "oid"})).await.ok();
    owner.patch(&path, json!({"external_id_claim": "sub"})).await.ok();
    signed_in(&world, &idp, &scim.id, json!({})).await;
    owner.patch(&path, json!({"external_id_claim": "oid"})).await.refused(422, "invalid_body");
    assert_eq!(owner.get(&path).await.ok()["external_id_claim"], "sub");
    // Who was deactivated would not be recognised either.
    scim.patch(&format!("/Users/{ada}"), activity(false)).await.ok();
    owner.patch(&path, json!({"external_id_claim": "oid"})).await.refused(422, "invalid_body");
    assert_eq!(scim.delete(&format!("/Users/{ada}")).await.status, 204);
    owner.patch(&path, json!({"external_id_claim": "oid"})).await.ok();
}

async fn a_person_who_comes_back_gets_an_account_without_the_past(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let scim = Scim::add(&world, &idp, "Example", json!({})).await;
    let path = format!("/Users/{}", scim.person("ada").await);
    let before = account(&world, "ada@example.com").await;
    let grants = format!("/users/{}/grants", before["id"].as_str().unwrap());
    world.owner().await.post(&grants, json!({"role": "auditor"})).await.created();
    let token = world.token_of("ada@example.com", &[]).await;
    let left = scim.patch(&path, activity(false)).await.ok();
    assert_eq!(left["active"], false);
    assert_eq!(scim.find("Users", "active eq false").await.len(), 1);
    let back = scim.patch(&path, activity(true)).await.ok();
    assert_eq!((&back["active"], &back["id"]), (&json!(true), &left["id"]));
    let after = account(&world, "ada@example.com").await;
    assert!(after["id"] != before["id"] && after["grants"] == json!([]), "{after}");
    token.get("/me").await.refused(401, "unauthenticated");
    signed_in(&world, &idp, &scim.id, json!({})).await;
}

async fn the_last_owner_and_the_emergency_owner_are_kept(mut world: World) {
    begun(&mut world).await;
    let groups =
        json!({"groups_from": "provisioning", "group_grants": [{"group": "Staff", "role": "owner"}]});
    let scim = Scim::without_idp(&world, "Example", groups).await;
    let ada = scim.person("ada").await;
    scim.group("Staff", &[&ada]).await;
    let path = format!("/Users/{ada}");
    let token = world.token_of("ada@example.com", &[]).await;
    let first = account(&world, OWNER).await;
    let first = format!("/users/{}", first["id"].as_str().unwrap());
    assert_eq!(token.delete(&first, json!({})).await.status, 204);
    for answer in [scim.patch(&path, activity(false)).await, scim.delete(&path).await] {
        let detail = refused(&answer, 409, None);
        assert!(detail.contains("last Owner") && detail.contains("Nothing was changed."), "{detail}");
    }
    let kept = token.get("/audit-events?action=user.kept").await.ok();
    let kept = kept["items"].as_array().unwrap();
    assert_eq!(
        (kept.len(), &kept[0]["outcome"], &kept[0]["details"]["cause"]),
        (2, &json!("refused"), &json!("last_owner"))
    );
    token.get("/users").await.ok();
    // With another Owner, the account of an emergency is kept all the same.
    let bob = scim.person("bob").await;
    let own = account_by(&token, "ada@example.com").await;
    let body = json!({"members": [{"value": ada}, {"value": bob}], "displayName": "Staff"});
    let group = scim.find("Groups", "displayName eq \"Staff\"").await[0]["id"].as_str().unwrap().to_owned();
    scim.put(&format!("/Groups/{group}"), body).await.ok();
    world
        .raw(&format!("INSERT INTO sign_in_policy (one, second_factor, passwords, break_glass, version) VALUES (1, 'optional', 'break_glass', '[\"{own}\"]', 2)"))
        .await;
    for answer in [
        scim.patch(&path, activity(false)).await,
        scim.delete(&path).await,
        scim.patch(&path, json!([{"op": "replace", "path": "userName", "value": "a@example.com"}])).await,
    ] {
        let detail = refused(&answer, 409, None);
        assert!(detail.contains("sign-in policy"), "{detail}");
    }
    world.raw("DELETE FROM sign_in_policy").await;
    scim.patch(&path, activity(false)).await.ok();
    token.get("/users").await.refused(401, "unauthenticated");
}

async fn account_by(token: &crate::world::Principal<'_>, email: &str) -> String {
    let found = token.get(&format!("/users?q={email}")).await.ok();
    found["items"][0]["id"].as_str().unwrap().to_owned()
}

async fn a_person_who_is_deleted_is_forgotten_and_can_come_back(mut world: World) {
    begun(&mut world).await;
    let scim = Scim::without_idp(&world, "Example", json!({})).await;
    let ada = scim.person("ada").await;
    let group = scim.group("Staff", &[&ada]).await;
    let tag_before = scim.get(&format!("/Groups/{group}")).await.ok()["meta"]["version"].clone();
    assert_eq!(scim.delete(&format!("/Users/{ada}")).await.status, 204);
    refused(&scim.get(&format!("/Users/{ada}")).await, 404, None);
    refused(&scim.delete(&format!("/Users/{ada}")).await, 404, None);
    let left = scim.get(&format!("/Groups/{group}")).await.ok();
    assert!(left.get("members").is_none() && left["meta"]["version"] != tag_before, "{left}");
    assert_eq!(world.number("SELECT COUNT(*) FROM users WHERE deleted_at IS NULL").await, 1);
    assert_ne!(scim.person("ada").await, ada);
    // An account that a manager deletes leaves an inactive person.
    let own = account(&world, "ada@example.com").await;
    let path = format!("/users/{}", own["id"].as_str().unwrap());
    assert_eq!(world.owner().await.delete(&path, json!({})).await.status, 204);
    assert_eq!(scim.find("Users", "active eq false").await.len(), 1);
}

async fn a_quarantine_gives_nothing_and_takes_away(mut world: World) {
    begun(&mut world).await;
    let groups =
        json!({"groups_from": "provisioning", "group_grants": [{"group": "Staff", "role": "viewer"}]});
    let scim = Scim::without_idp(&world, "Example", groups).await;
    let (ada, bob) = (scim.person("ada").await, scim.person("bob").await);
    let group = format!("/Groups/{}", scim.group("Staff", &[&ada]).await);
    let (id, token) = (scim.id.clone(), scim.token.clone());
    world.raw("INSERT INTO quarantine (one, since, cause, data_until) VALUES (1, 1, 'restored', 1)").await;
    world.restart().await;
    assert!(world.app.quarantine().is_some());
    let scim = Scim { world: &world, id, token };
    scim.get("/Users").await.ok();
    let add = json!([{"op": "add", "path": "members", "value": [{"value": bob}]}]);
    for answer in [
        scim.post("/Users", json!({"userName": "eve@example.com", "externalId": "eve"})).await,
        scim.post("/Groups", json!({"displayName": "More"})).await,
        scim.patch(&group, add).await,
        scim.patch(&format!("/Users/{ada}"), json!([{"op": "replace", "path": "displayName", "value": "A"}]))
            .await,
    ] {
        refused(&answer, 503, None);
        assert!(answer.header("retry-after").is_some());
    }
    assert_eq!(scim.patch(&group, json!([{"op": "remove", "path": "members"}])).await.status, 204);
    assert_eq!(world.number("SELECT COUNT(*) FROM grants WHERE provider_id IS NOT NULL").await, 0);
    scim.patch(&format!("/Users/{ada}"), activity(false)).await.ok();
    refused(&scim.patch(&format!("/Users/{ada}"), activity(true)).await, 503, None);
    assert_eq!(scim.delete(&format!("/Users/{bob}")).await.status, 204);
    assert_eq!(world.number("SELECT COUNT(*) FROM users WHERE deleted_at IS NULL").await, 1);
}
