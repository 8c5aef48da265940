//! Clients of an account that ends: who takes over, who may decide that, and who is told.

use super::{
    HOUR, MICRO, events, id_of, letters, mailing, own_by, owners_of, pairs, person, rotate, sent, subjects,
    without_role,
};
use crate::{
    engines::on_both_engines,
    world::{Client, OWNER, World},
};
use serde_json::{Value, json};

on_both_engines! {
    the_chosen_owner_takes_over_and_is_told_why,
    who_inherits_is_known_before_the_deletion_and_comes_true,
    the_plan_of_a_hand_over_names_only_what_one_can_read,
    other_owners_remain_and_managers_inherit_what_has_none,
    handing_over_takes_the_permission_for_the_clients_and_the_name,
    one_hand_over_of_many_clients_is_one_message_to_each_person,
    more_clients_than_one_request_hands_over_are_refused,
    an_address_that_changes_takes_its_clients_along_and_the_old_one_is_told,
    a_deleted_account_gets_nothing_that_was_queued,
    an_account_at_the_address_of_a_group_does_not_silence_the_group,
}

/// Rows of clients with these owners, beside the one that they are like.
pub(crate) async fn insert_clients(world: &World, like: &Client, count: u32, owners: &[&str]) {
    let owners = json!(owners);
    for n in (0..count).collect::<Vec<_>>().chunks(500) {
        let row = |n: &u32| format!("SELECT 'cl_{n:022}' AS id, 'Many {n}' AS name, 'many {n}' AS name_key");
        let rows = n.iter().map(row).collect::<Vec<_>>().join(" UNION ALL ");
        world
            .raw(&format!(
                "INSERT INTO clients (id, property_id, name, name_key, description, owners, created_at, version)
                 SELECT v.id, c.property_id, v.name, v.name_key, '', '{owners}', c.created_at, 1
                 FROM clients c CROSS JOIN ({rows}) AS v WHERE c.id = '{}'",
                like.id
            ))
            .await;
    }
}

async fn the_chosen_owner_takes_over_and_is_told_why(mut world: World) {
    let server = mailing(&mut world).await;
    let billing = world.client("Billing", &["production"]).await;
    world.advance(MICRO);
    let ledger = world.client("Ledger", &["production"]).await;
    person(&world, "grace@example.com", "viewer").await;
    world.user("alan@example.com", "viewer").await;
    own_by(&world, &billing, &["grace@example.com", "team@example.com"]).await;
    own_by(&world, &ledger, &["grace@example.com"]).await;
    sent(&world, &server).await;
    let (owner, grace) = (world.owner().await, id_of(&world, "grace@example.com").await);
    let alan = id_of(&world, "alan@example.com").await;
    let body = json!({"hand_over_to": alan, "confirm_user_name": "grace"});
    let reply = owner.delete(&format!("/users/{grace}"), body).await.ok();
    assert_eq!((&reply["handed_over_count"], &reply["ownerless_count"]), (&json!(2), &json!(0)));
    assert_eq!(reply["clients"][0]["owners"], json!(["alan@example.com", "team@example.com"]));
    assert_eq!(owners_of(&world, &billing).await, json!(["alan@example.com", "team@example.com"]));
    assert_eq!(owners_of(&world, &ledger).await, json!(["alan@example.com"]));
    let found = events(&world, "client.handed_over").await;
    assert_eq!(found.len(), 2);
    assert_eq!(found[0]["details"]["cause"], "account_deleted");
    assert_eq!(found[0]["details"]["heirs"], "chosen");
    let letters = letters(&world, &server).await;
    assert_eq!(
        subjects(&letters),
        pairs(&[
            ("alan@example.com", "You take over 2 clients"),
            ("grace@example.com", "You are no longer an owner: 2 clients"),
            ("team@example.com", "An owner has gone: Billing"),
        ])
    );
    assert!(letters.iter().all(|it| it.text.contains("The account of grace was deleted.")));
}

async fn who_inherits_is_known_before_the_deletion_and_comes_true(world: World) {
    let shared = world.client("Shared", &["production"]).await;
    world.advance(MICRO);
    let managed = world.client("Managed", &["production"]).await;
    world.advance(MICRO);
    let plain = world.client("Plain", &["production"]).await;
    let owner = world.owner().await;
    let (grace, _) = without_role(&world, "grace@example.com").await;
    own_by(&world, &shared, &["grace@example.com", "team@example.com"]).await;
    own_by(&world, &managed, &["grace@example.com"]).await;
    own_by(&world, &plain, &["grace@example.com"]).await;
    let property = async |client: &Client| {
        owner.get(&format!("/clients/{}", client.id)).await.ok()["property_id"].clone()
    };
    let manager = json!({"role": "application_manager", "property_id": property(&managed).await});
    let (heir, _) = without_role(&world, "heir@example.com").await;
    owner.post(&format!("/users/{heir}/grants"), manager).await.created();
    // The account that goes is the only manager of a property: it does not inherit from itself.
    let manager = json!({"role": "application_manager", "property_id": property(&plain).await});
    owner.post(&format!("/users/{grace}/grants"), manager).await.created();
    let path = format!("/users/{grace}");
    let plan = owner.get(&format!("{path}/hand-over")).await.ok();
    assert_eq!((&plan["handed_over_count"], &plan["ownerless_count"]), (&json!(3), &json!(0)));
    let heirs: Vec<_> = plan["clients"].as_array().unwrap().iter().map(|it| it["heirs"].clone()).collect();
    assert_eq!(heirs, ["other_owners", "managers", "managers"]);
    assert_eq!(plan["clients"][2]["owners"], json!([OWNER]));
    assert_eq!(owners_of(&world, &plain).await, json!(["grace@example.com"]), "nothing was changed");
    let browser = world.signed_in().await;
    let page = browser.get(&format!("/console/people/{grace}")).await.page(200);
    assert!(page.contains("grace owns 3 clients.") && page.contains("managers: heir@example.com"), "{page}");
    assert!(page.contains("other owners: team@example.com"), "{page}");
    let done = owner.delete(&path, json!({"confirm_user_name": "grace"})).await.ok();
    assert_eq!(done, plan, "what was said is what happened");
    owner.get(&format!("{path}/hand-over")).await.refused(404, "not_found");
    // Who owns nothing, and a program, hand over nothing.
    let nothing = json!({"handed_over_count": 0, "ownerless_count": 0, "clients": []});
    assert_eq!(owner.get(&format!("/users/{heir}/hand-over")).await.ok()["handed_over_count"], json!(1));
    let program = owner.post("/users", json!({"kind": "program", "name": "robot"})).await.created();
    let path = format!("/users/{}/hand-over", program["id"].as_str().unwrap());
    assert_eq!(owner.get(&path).await.ok(), nothing);
}

async fn the_plan_of_a_hand_over_names_only_what_one_can_read(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let viewer = world.user("grace@example.com", "viewer").await;
    own_by(&world, &client, &["grace@example.com"]).await;
    let path = format!("/users/{}/hand-over", id_of(&world, "grace@example.com").await);
    // Who cannot read accounts does not learn which clients one owns, also of one's own.
    viewer.get(&path).await.refused(404, "not_found");
    let accounts = world.token_of(OWNER, &["user:read"]).await;
    let plan = accounts.get(&path).await.ok();
    assert_eq!((&plan["handed_over_count"], &plan["clients"]), (&json!(1), &json!([])));
    let reading = world.token_of(OWNER, &["user:read", "client:read"]).await;
    assert_eq!(reading.get(&path).await.ok()["clients"][0]["name"], "Billing");
    reading.get(&format!("{path}?limit=1")).await.refused(400, "invalid_query");
}

async fn other_owners_remain_and_managers_inherit_what_has_none(mut world: World) {
    let server = mailing(&mut world).await;
    let shared = world.client("Shared", &["production"]).await;
    world.advance(MICRO);
    let managed = world.client("Managed", &["production"]).await;
    world.advance(MICRO);
    let plain = world.client("Plain", &["production"]).await;
    let owner = world.owner().await;
    person(&world, "grace@example.com", "viewer").await;
    own_by(&world, &shared, &["grace@example.com", "team@example.com"]).await;
    own_by(&world, &managed, &["grace@example.com"]).await;
    own_by(&world, &plain, &["grace@example.com"]).await;
    let property = owner.get(&format!("/clients/{}", managed.id)).await.ok()["property_id"].clone();
    let manager = |environments: Value| json!({"role": "application_manager", "property_id": property, "environments": environments});
    let (heir, _) = without_role(&world, "heir@example.com").await;
    owner.post(&format!("/users/{heir}/grants"), manager(Value::Null)).await.created();
    // Manages one environment, and not the client.
    let (other, _) = without_role(&world, "other@example.com").await;
    owner.post(&format!("/users/{other}/grants"), manager(json!(["staging"]))).await.created();
    sent(&world, &server).await;
    let grace = id_of(&world, "grace@example.com").await;
    let reply = owner.delete(&format!("/users/{grace}"), json!({"confirm_user_name": "grace"})).await.ok();
    let heirs: Vec<_> = reply["clients"].as_array().unwrap().iter().map(|it| it["heirs"].clone()).collect();
    assert_eq!(heirs, ["other_owners", "managers", "managers"]);
    assert_eq!(owners_of(&world, &shared).await, json!(["team@example.com"]));
    assert_eq!(owners_of(&world, &managed).await, json!(["heir@example.com"]));
    assert_eq!(owners_of(&world, &plain).await, json!([OWNER]), "who manages the platform");
    assert_eq!(
        sent(&world, &server).await,
        pairs(&[
            ("grace@example.com", "You are no longer an owner: 3 clients"),
            ("heir@example.com", "You take over a client: Managed"),
            (OWNER, "You take over a client: Plain"),
            ("team@example.com", "An owner has gone: Shared"),
        ])
    );
    // An account that owns nothing is deleted as before.
    assert_eq!(owner.delete(&format!("/users/{other}"), json!({})).await.status.as_u16(), 204);
}

/// An attacker has a token that manages users and nothing else.
async fn handing_over_takes_the_permission_for_the_clients_and_the_name(world: World) {
    let client = world.client("Billing", &["production"]).await;
    world.user("grace@example.com", "viewer").await;
    own_by(&world, &client, &["grace@example.com"]).await;
    let grace = format!("/users/{}", id_of(&world, "grace@example.com").await);
    let limited = world.token_of(OWNER, &["user:manage", "user:read"]).await;
    let evil = json!({"hand_over_to": "evil@example.net", "confirm_user_name": "grace"});
    let refused = limited.delete(&grace, evil).await.refused(403, "forbidden");
    assert_eq!(refused["permission"], "client:manage");
    let viewer = world.user("eve@example.com", "viewer").await;
    viewer.delete(&grace, json!({"hand_over_to": "evil@example.net"})).await.refused(404, "not_found");
    let owner = world.owner().await;
    for (body, code, field) in [
        (json!({"hand_over_to": "team@example.com"}), "confirmation_mismatch", "confirm_user_name"),
        (
            json!({"hand_over_to": "team@example.com", "confirm_user_name": "Grace H"}),
            "confirmation_mismatch",
            "confirm_user_name",
        ),
        (json!({"confirm_user_name": "Grace H"}), "confirmation_mismatch", "confirm_user_name"),
        (json!({}), "confirmation_mismatch", "confirm_user_name"),
        (json!({"hand_over_to": "nobody", "confirm_user_name": "grace"}), "invalid_body", "hand_over_to"),
        (
            json!({"hand_over_to": "usr_9999999999999999999999", "confirm_user_name": "grace"}),
            "invalid_body",
            "hand_over_to",
        ),
        (
            json!({"hand_over_to": "Grace@example.com", "confirm_user_name": "grace"}),
            "invalid_body",
            "hand_over_to",
        ),
        (json!({"nonsense": 1}), "invalid_body", "nonsense"),
    ] {
        let problem = owner.delete(&grace, body.clone()).await.refused(422, code);
        assert_eq!(problem["field"], field, "{body}");
    }
    assert_eq!(owners_of(&world, &client).await, json!(["grace@example.com"]), "nothing was changed");
    owner.get(&grace).await.ok();
    assert!(events(&world, "client.handed_over").await.iter().all(|it| it["outcome"] != "done"));
    // Without a choice as well: the address would be an owner no more.
    for body in [json!({}), json!({"confirm_user_name": "grace"})] {
        let refused = limited.delete(&grace, body).await.refused(403, "forbidden");
        assert_eq!(refused["permission"], "client:manage");
    }
    assert_eq!(owners_of(&world, &client).await, json!(["grace@example.com"]), "nothing was changed");
    owner.delete(&grace, json!({"confirm_user_name": "grace"})).await.ok();
    assert_eq!(owners_of(&world, &client).await, json!([OWNER]));
}

async fn one_hand_over_of_many_clients_is_one_message_to_each_person(mut world: World) {
    let server = mailing(&mut world).await;
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let property = owner.get(&format!("/clients/{}", client.id)).await.ok()["property_id"].clone();
    for (email, grant) in [
        ("grace@example.com", json!({"role": "viewer"})),
        ("m@example.com", json!({"role": "application_manager", "property_id": property})),
    ] {
        let (user, _) = without_role(&world, email).await;
        owner.post(&format!("/users/{user}/grants"), grant).await.created();
    }
    own_by(&world, &client, &["grace@example.com", "team@example.com"]).await;
    let hook = json!({"name": "All", "url": "https://hooks.example.com/all", "confirm_name": "platform", "events": ["client.handed_over"]});
    owner.post("/webhooks", hook).await.created();
    insert_clients(&world, &client, 998, &["grace@example.com"]).await;
    let browser = world.signed_in().await;
    sent(&world, &server).await;
    let before = world.number("SELECT COUNT(*) FROM notifications").await;
    let path = format!("/users/{}", id_of(&world, "grace@example.com").await);
    let page = browser.get(&format!("/console/people/{}", &path[7..])).await.page(200);
    assert!(page.contains("owns 999 clients") && !page.contains("handed over at once"), "{page}");
    let reply = owner.delete(&path, json!({"confirm_user_name": "grace"})).await.ok();
    assert_eq!((&reply["handed_over_count"], &reply["ownerless_count"]), (&json!(999), &json!(0)));
    assert_eq!(reply["clients"].as_array().unwrap().len(), 200);
    assert_eq!(owners_of(&world, &client).await, json!(["team@example.com"]));
    let inherited = "SELECT COUNT(*) FROM clients WHERE owners = '[\"m@example.com\"]' AND version = 2";
    assert_eq!(world.number(inherited).await, 998);
    let recorded =
        "SELECT COUNT(*) FROM audit_events WHERE action = 'client.handed_over' AND outcome = 'done'";
    assert_eq!(world.number(recorded).await, 999, "one event for each client");
    // A webhook is for programs, which want one message about each.
    let queued = world.number("SELECT COUNT(*) FROM notifications").await - before;
    assert_eq!(queued, 999 + 3);
    let letters = letters(&world, &server).await;
    assert_eq!(
        subjects(&letters),
        pairs(&[
            ("grace@example.com", "You are no longer an owner: 999 clients"),
            ("m@example.com", "You take over 998 clients"),
            ("team@example.com", "An owner has gone: Billing"),
        ])
    );
    let heir = letters.iter().find(|it| it.to == "m@example.com").unwrap();
    assert_eq!(heir.text.matches("- Many ").count(), 20, "{}", heir.text);
    assert!(heir.text.contains("and 978 more") && heir.text.contains("Clients that you own now (998)"));
    assert!(heir.text.contains("The account of grace was deleted."), "{}", heir.text);
}

async fn more_clients_than_one_request_hands_over_are_refused(world: World) {
    let client = world.client("Billing", &["production"]).await;
    world.user("grace@example.com", "viewer").await;
    insert_clients(&world, &client, 1001, &["grace@example.com"]).await;
    let (owner, id) = (world.owner().await, id_of(&world, "grace@example.com").await);
    let path = format!("/users/{id}");
    let moved = json!({"email": "hopper@example.com", "confirm_user_name": "grace"});
    let chosen = json!({"hand_over_to": "team@example.com", "confirm_user_name": "grace"});
    for answer in [owner.delete(&path, chosen.clone()).await, owner.patch(&path, moved).await] {
        let refused = answer.refused(409, "in_use");
        let said = refused["detail"].as_str().unwrap();
        assert!(said.contains("owns 1001 clients") && said.contains("Nothing was changed."), "{said}");
    }
    assert_eq!(owner.get(&path).await.ok()["email"], "grace@example.com");
    let browser = world.signed_in().await;
    let page = browser.get(&format!("/console/people/{id}")).await.page(200);
    assert!(page.contains("Change the owners of some of them first."), "{page}");
    let fields = [("hand_over_to", "team@example.com"), ("confirm_user_name", "grace")];
    let refused = browser.post(&format!("/console/people/{id}/delete"), &fields).await.page(409);
    assert!(refused.contains("hands over at most 1000"), "{refused}");
    // One less, and it is possible.
    let one = "/clients/cl_0000000000000000000007";
    own_by_path(&world, one, "Many 7").await;
    let reply = owner.delete(&path, chosen).await.ok();
    assert_eq!(reply["handed_over_count"], 1000);
    let left = "SELECT COUNT(*) FROM clients WHERE owners LIKE '%grace@example.com%'";
    assert_eq!(world.number(left).await, 0);
}

async fn an_address_that_changes_takes_its_clients_along_and_the_old_one_is_told(mut world: World) {
    let server = mailing(&mut world).await;
    let client = world.client("Billing", &["production"]).await;
    world.user("grace@example.com", "viewer").await;
    own_by(&world, &client, &["grace@example.com", "team@example.com"]).await;
    sent(&world, &server).await;
    let (owner, grace) =
        (world.owner().await, format!("/users/{}", id_of(&world, "grace@example.com").await));
    let moved = |name: Option<&str>| json!({"email": "hopper@example.com", "confirm_user_name": name});
    owner.patch(&grace, json!({"email": "hopper@example.com"})).await.refused(422, "confirmation_mismatch");
    owner.patch(&grace, moved(Some("Grace H"))).await.refused(422, "confirmation_mismatch");
    let limited = world.token_of(OWNER, &["user:manage", "user:read"]).await;
    limited.patch(&grace, moved(Some("grace"))).await.refused(403, "forbidden");
    assert_eq!(owners_of(&world, &client).await, json!(["grace@example.com", "team@example.com"]));
    owner.patch(&grace, json!({"name": "Grace", "email": "grace@example.com"})).await.ok();
    owner.patch(&grace, moved(Some("Grace"))).await.ok();
    assert_eq!(owners_of(&world, &client).await, json!(["hopper@example.com", "team@example.com"]));
    assert_eq!(events(&world, "client.handed_over").await[0]["details"]["cause"], "address_changed");
    let about_client: Vec<_> =
        sent(&world, &server).await.into_iter().filter(|(_, subject)| subject.ends_with("Billing")).collect();
    assert_eq!(
        about_client,
        pairs(&[
            ("hopper@example.com", "Messages come to this address: Billing"),
            ("team@example.com", "An owner has another address: Billing"),
        ]),
        "the earlier address has the message about its account"
    );
}

async fn a_deleted_account_gets_nothing_that_was_queued(mut world: World) {
    let server = mailing(&mut world).await;
    let client = world.client("Billing", &["production"]).await;
    person(&world, "grace@example.com", "viewer").await;
    own_by(&world, &client, &["grace@example.com", "team@example.com"]).await;
    sent(&world, &server).await;
    rotate(&world, &client, 48).await;
    let grace = id_of(&world, "grace@example.com").await;
    let confirmed = json!({"confirm_user_name": "grace"});
    world.owner().await.delete(&format!("/users/{grace}"), confirmed).await.ok();
    let abandoned = "SELECT COUNT(*) FROM deliveries WHERE abandoned_as = 'deleted'";
    assert_eq!(world.number(abandoned).await, 1);
    world.advance(HOUR * 44);
    world.run_jobs().await;
    let sent = sent(&world, &server).await;
    assert!(sent.len() >= 3, "{sent:?}");
    let to_grace: Vec<_> = sent.iter().filter(|(to, _)| to == "grace@example.com").collect();
    assert_eq!(to_grace.len(), 1, "only that it is no owner any more: {to_grace:?}");
    assert_eq!(to_grace[0].1, "You are no longer an owner: Billing");
}

/// An attacker manages users and nothing else.
async fn an_account_at_the_address_of_a_group_does_not_silence_the_group(mut world: World) {
    let server = mailing(&mut world).await;
    let client = world.client("Billing", &["production"]).await;
    own_by(&world, &client, &["team@example.com", "ada@example.com"]).await;
    rotate(&world, &client, 24).await;
    let limited = world.token_of(OWNER, &["user:manage", "user:read"]).await;
    let user = limited.post("/users", json!({"email": "team@example.com"})).await.created();
    let user = format!("/users/{}", user["id"].as_str().unwrap());
    limited.patch(&user, json!({"email": "evil@example.net"})).await.refused(403, "forbidden");
    // Whoever made the account has its link, and so can set a password.
    for activated in [false, true] {
        if activated {
            world.raw("UPDATE users SET password_hash = 'x' WHERE email = 'team@example.com'").await;
        }
        let refused = limited.delete(&user, json!({"confirm_user_name": "team"})).await;
        assert_eq!(refused.refused(403, "forbidden")["permission"], "client:manage");
        assert_eq!(owners_of(&world, &client).await, json!(["team@example.com", "ada@example.com"]));
    }
    let to_team: Vec<_> =
        sent(&world, &server).await.into_iter().filter(|(to, _)| to == "team@example.com").collect();
    assert!(to_team.iter().any(|(_, subject)| subject.starts_with("Secret rotated")), "{to_team:?}");
    world.owner().await.delete(&user, json!({"confirm_user_name": "team"})).await.ok();
    assert_eq!(owners_of(&world, &client).await, json!(["ada@example.com"]));
    let to_team: Vec<_> =
        sent(&world, &server).await.into_iter().filter(|(to, _)| to == "team@example.com").collect();
    assert!(
        to_team.iter().any(|(_, subject)| subject == "You are no longer an owner: Billing"),
        "{to_team:?}"
    );
}

async fn own_by_path(world: &World, path: &str, name: &str) {
    let body = json!({"owners": ["team@example.com"], "confirm_client_name": name});
    world.owner().await.patch(path, body).await.ok();
}
