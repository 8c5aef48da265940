//! Roles by group.

use super::{account, add, begun, events, idp::Idp, signed_in};
use crate::{
    engines::on_both_engines,
    world::{OWNER, World},
};
use serde_json::{Value, json};

on_both_engines! {
    a_role_comes_by_group_is_taken_away_and_comes_back,
    a_role_of_a_group_is_not_removed_by_hand_and_one_by_hand_not_by_a_group,
    a_group_that_gives_no_role_any_more_takes_it_from_everyone,
    a_role_is_on_a_client_in_an_environment,
    the_last_owner_keeps_the_role_of_a_group,
    an_owner_whose_group_is_renamed_is_one_all_the_time,
    the_first_role_that_sees_secrets_ends_every_other_way_into_an_account,
    a_limited_token_lets_no_group_give_what_it_does_not_hold,
}

async fn roles(world: &World, email: &str) -> Vec<(String, Value)> {
    let account = account(world, email).await;
    let role = |it: &Value| (it["role"].as_str().unwrap().to_owned(), it["group"].clone());
    account["grants"].as_array().unwrap().iter().map(role).collect()
}

fn by(role: &str, group: &str) -> (String, Value) {
    (role.to_owned(), json!(group))
}

async fn a_role_comes_by_group_is_taken_away_and_comes_back(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let groups = json!([{"group": "engineers", "role": "viewer"}, {"group": "auditors", "role": "auditor"}]);
    let id = add(&world, &idp, "Example", json!({"group_grants": groups})).await;
    let ada = "ada@example.com";
    let browser = signed_in(&world, &idp, &id, json!({"groups": ["engineers", "other"]})).await;
    assert_eq!(roles(&world, ada).await, [by("viewer", "engineers")]);
    browser.get("/console/clients").await.page(200);
    let created =
        events(&world, 20).await.into_iter().find(|(action, _)| action == "grant.created").unwrap().1;
    assert_eq!(
        (&created["grant"]["group"], &created["grant"]["provider_id"]),
        (&json!("engineers"), &json!(id))
    );
    signed_in(&world, &idp, &id, json!({"groups": ["auditors"]})).await;
    assert_eq!(roles(&world, ada).await, [by("auditor", "auditors")]);
    // Taken from the open session, too.
    browser.get("/console/audit").await.page(200);
    signed_in(&world, &idp, &id, json!({"groups": []})).await;
    assert_eq!(roles(&world, ada).await, []);
    browser.get("/console/audit").await.page(403);
    // Neither in the ID token nor at the endpoint for it.
    idp.set_user_info(json!({"sub": "ada"}));
    signed_in(&world, &idp, &id, json!({"groups": null})).await;
    assert_eq!(roles(&world, ada).await, []);
    signed_in(&world, &idp, &id, json!({"groups": ["engineers", "auditors"]})).await;
    let mut back = roles(&world, ada).await;
    back.sort_by_key(|(role, _)| role.clone());
    assert_eq!(back, [by("auditor", "auditors"), by("viewer", "engineers")]);
    // Nothing changes for the same groups.
    let before = world.number("SELECT COUNT(*) FROM audit_events WHERE action LIKE 'grant.%'").await;
    signed_in(&world, &idp, &id, json!({"groups": ["auditors", "engineers"]})).await;
    assert_eq!(world.number("SELECT COUNT(*) FROM audit_events WHERE action LIKE 'grant.%'").await, before);
}

async fn a_role_of_a_group_is_not_removed_by_hand_and_one_by_hand_not_by_a_group(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let groups = json!([{"group": "engineers", "role": "viewer"}]);
    let id = add(&world, &idp, "Example", json!({"group_grants": groups})).await;
    signed_in(&world, &idp, &id, json!({"groups": ["engineers"]})).await;
    let owner = world.owner().await;
    let ada = account(&world, "ada@example.com").await;
    let (user, grant) = (ada["id"].as_str().unwrap(), ada["grants"][0]["id"].as_str().unwrap());
    let path = format!("/users/{user}/grants/{grant}");
    let refused = owner.delete(&path, json!({})).await.refused(409, "given_by_group");
    assert!(refused["detail"].as_str().unwrap().contains("The group engineers of Example gives this role."));
    let page = world.signed_in().await.get(&format!("/console/people/{user}")).await.page(200);
    assert!(
        page.contains("by the group engineers of Example") && !page.contains(&format!("take-{grant}")),
        "{page}"
    );
    // The same role by hand is another one, and stays.
    owner.post(&format!("/users/{user}/grants"), json!({"role": "viewer"})).await.created();
    owner
        .post(&format!("/users/{user}/grants"), json!({"role": "viewer"}))
        .await
        .refused(409, "already_granted");
    signed_in(&world, &idp, &id, json!({"groups": []})).await;
    assert_eq!(roles(&world, "ada@example.com").await, [("viewer".to_owned(), Value::Null)]);
}

async fn a_group_that_gives_no_role_any_more_takes_it_from_everyone(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let groups = json!([{"group": "a", "role": "viewer"}, {"group": "b", "role": "auditor"}]);
    let id = add(&world, &idp, "Example", json!({"group_grants": groups})).await;
    signed_in(&world, &idp, &id, json!({"groups": ["a", "b"]})).await;
    let changed = json!({"group_grants": [{"group": "a", "role": "viewer"}]});
    world.owner().await.patch(&format!("/providers/{id}"), changed).await.ok();
    assert_eq!(roles(&world, "ada@example.com").await, [by("viewer", "a")]);
    let disabled = json!({"enabled": false});
    world.owner().await.patch(&format!("/providers/{id}"), disabled).await.ok();
    assert_eq!(roles(&world, "ada@example.com").await, []);
}

async fn a_role_is_on_a_client_in_an_environment(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let client = world.client("Billing", &["staging", "production"]).await;
    let entry = json!({
        "group": "rotators", "role": "secret_rotator", "client_id": client.id, "environments": ["staging"],
    });
    let id = add(&world, &idp, "Example", json!({"group_grants": [entry]})).await;
    let browser = signed_in(&world, &idp, &id, json!({"groups": ["rotators"]})).await;
    let page = |slug: &str| format!("/console/clients/{}/environments/{slug}/security", client.id);
    browser.get(&page("staging")).await.page(200);
    browser.get(&page("production")).await.page(404);
    // A client that is gone gives nothing, and stops nobody.
    world
        .owner()
        .await
        .delete(&format!("/clients/{}", client.id), json!({"confirm_client_name": "Billing", "reason": "x"}))
        .await;
    let browser = signed_in(&world, &idp, &id, json!({"groups": ["rotators"]})).await;
    assert!(browser.is_signed_in().await);
    assert_eq!(roles(&world, "ada@example.com").await, []);
    for bad in [
        json!({"group": "", "role": "viewer"}),
        json!({"group": "a", "role": "owner", "client_id": client.id}),
        json!({"group": "a", "role": "application_manager"}),
        json!({"group": "a", "role": "viewer", "environments": ["moon"]}),
    ] {
        let body = json!({"group_grants": [bad]});
        let refused =
            world.owner().await.patch(&format!("/providers/{id}"), body).await.refused(422, "invalid_body");
        assert_eq!(refused["field"], "group_grants", "{refused}");
    }
}

async fn the_last_owner_keeps_the_role_of_a_group(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let groups = json!([{"group": "owners", "role": "owner"}]);
    let id = add(&world, &idp, "Example", json!({"group_grants": groups})).await;
    signed_in(&world, &idp, &id, json!({"groups": ["owners"]})).await;
    let first = account(&world, OWNER).await;
    let ada = world.token_of("ada@example.com", &[]).await;
    ada.delete(&format!("/users/{}", first["id"].as_str().unwrap()), json!({})).await.expect(204);
    signed_in(&world, &idp, &id, json!({"groups": []})).await;
    let me = ada.get("/me").await.ok();
    assert_eq!(me["user"]["grants"][0]["role"], "owner", "{me}");
    assert_eq!(world.number("SELECT COUNT(*) FROM audit_events WHERE action = 'grant.kept'").await, 1);
    ada.delete(&format!("/providers/{id}"), json!({})).await.expect(204);
    assert_eq!(ada.get("/me").await.ok()["user"]["grants"][0]["role"], "owner");
    // With another Owner, it can be removed: the provider that gave it is gone.
    let bob = ada.post("/users", json!({"email": "bob@example.com"})).await.created();
    ada.post(&format!("/users/{}/grants", bob["id"].as_str().unwrap()), json!({"role": "owner"}))
        .await
        .created();
    let (user, grant) = (&me["user"]["id"], &me["user"]["grants"][0]["id"]);
    let path = format!("/users/{}/grants/{}", user.as_str().unwrap(), grant.as_str().unwrap());
    ada.delete(&path, json!({})).await.expect(204);
}

async fn an_owner_whose_group_is_renamed_is_one_all_the_time(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let groups = json!([{"group": "old", "role": "owner"}, {"group": "new", "role": "owner"}]);
    let id = add(&world, &idp, "Example", json!({"group_grants": groups})).await;
    signed_in(&world, &idp, &id, json!({"groups": ["old"]})).await;
    let first = account(&world, OWNER).await;
    let ada = world.token_of("ada@example.com", &[]).await;
    ada.delete(&format!("/users/{}", first["id"].as_str().unwrap()), json!({})).await.expect(204);
    signed_in(&world, &idp, &id, json!({"groups": ["new"]})).await;
    let grants = ada.get("/me").await.ok()["user"]["grants"].clone();
    assert_eq!((grants.as_array().unwrap().len(), &grants[0]["group"]), (1, &json!("new")), "{grants}");
}

async fn the_first_role_that_sees_secrets_ends_every_other_way_into_an_account(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let groups = json!([{"group": "viewers", "role": "secret_viewer"}]);
    let id = add(&world, &idp, "Example", json!({"group_grants": groups})).await;
    // Somebody who made the account can have kept its password and a token.
    let ada = world.person("ada@example.com", "viewer").await;
    let token = world.token_of("ada@example.com", &[]).await;
    let linking = super::identities::link(&world, &ada, &idp, &id, json!({})).await;
    assert_eq!(linking.leads_to(), "/console/account");
    let browser = signed_in(&world, &idp, &id, json!({"groups": ["viewers"]})).await;
    assert!(browser.is_signed_in().await && !ada.is_signed_in().await);
    token.get("/me").await.refused(401, "unauthenticated");
    let account = account(&world, "ada@example.com").await;
    assert_eq!(account["activated"], false);
    assert_eq!(account["identities"].as_array().unwrap().len(), 1, "the provider is the way that is left");
    let told =
        events(&world, 20).await.into_iter().find(|(action, _)| action == "user.deactivated").unwrap().1;
    assert_eq!((&told["had_password"], &told["ended_tokens"]), (&json!(true), &json!(2)), "{told}");
    // A role by hand that closes an account ends identities that were linked.
    world.raw("UPDATE grants SET role = 'viewer' WHERE provider_id IS NOT NULL").await;
    let user = account["id"].as_str().unwrap();
    world
        .owner()
        .await
        .post(&format!("/users/{user}/grants"), json!({"role": "secret_rotator"}))
        .await
        .created();
    assert_eq!(world.number("SELECT COUNT(*) FROM identities").await, 0);
    assert!(!browser.is_signed_in().await);
}

async fn a_limited_token_lets_no_group_give_what_it_does_not_hold(mut world: World) {
    begun(&mut world).await;
    let idp = Idp::start().await;
    let id =
        add(&world, &idp, "Example", json!({"group_grants": [{"group": "owners", "role": "owner"}]})).await;
    let limited = world.token_of(OWNER, &["provider:manage"]).await;
    let path = format!("/providers/{id}");
    for body in [
        json!({"group_grants": [{"group": "mine", "role": "owner"}]}),
        json!({"groups_claim": "mine"}),
        json!({"issuer": "http://127.0.0.1:6500", "client_secret": "x", "confirm_name": "Example"}),
    ] {
        limited.patch(&path, body).await.refused(403, "forbidden");
    }
    let new = json!({
        "name": "Mine", "issuer": idp.url(""), "client_id": "a", "client_secret": "b",
        "group_grants": [{"group": "mine", "role": "secret_viewer"}],
    });
    limited.post("/providers", new).await.refused(403, "forbidden");
    limited.patch(&path, json!({"enabled": false})).await.ok();
    limited.patch(&path, json!({"enabled": true})).await.refused(403, "forbidden");
    limited.patch(&path, json!({"name": "Renamed"})).await.ok();
    // With everything that the roles hold, it can.
    world.owner().await.patch(&path, json!({"enabled": true})).await.ok();
}
