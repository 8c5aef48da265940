//! Owners of clients: who they are, who takes over, who has seen a transition, and which messages they get. And what an
//! attacker makes of that.

use crate::{
    console::browser::Browser,
    engines::on_both_engines,
    mail_server::{MailServer, Message},
    world::{Answer, Client, OWNER, Principal, World},
};
use http::Method;
use serde_json::{Value, json};
use std::time::Duration;

on_both_engines! {
    an_owner_is_a_user_or_a_group_and_only_who_reads_users_learns_whose_account_it_is,
    clients_without_an_owner_are_listed_counted_and_shown,
    the_chosen_owner_takes_over_and_is_told_why,
    who_inherits_is_known_before_the_deletion_and_comes_true,
    the_plan_of_a_hand_over_names_only_what_one_can_read,
    the_owners_of_a_new_client_are_told_and_its_creator_is_not,
    a_mail_names_the_webhooks_among_the_owners,
    other_owners_remain_and_managers_inherit_what_has_none,
    handing_over_takes_the_permission_for_the_clients_and_the_name,
    one_hand_over_of_many_clients_is_one_message_to_each_person,
    more_clients_than_one_request_hands_over_are_refused,
    an_address_that_changes_takes_its_clients_along_and_the_old_one_is_told,
    a_deleted_account_gets_nothing_that_was_queued,
    an_account_at_the_address_of_a_group_does_not_silence_the_group,
    a_transition_is_seen_once_by_name_and_time,
    only_an_owner_and_whoever_can_rotate_mark_a_transition_as_seen,
    a_mark_of_somebody_else_says_that_the_managers_are_still_warned,
    a_link_in_a_mail_marks_nothing,
    managers_are_warned_from_four_hours_on_unless_somebody_has_seen_it,
    what_a_person_switched_off_is_not_sent_to_them,
    a_rotation_by_the_client_itself_is_told_whatever_is_off,
    what_is_off_for_a_client_is_sent_to_nobody_and_the_owners_are_told_of_that,
    a_limited_token_and_a_program_switch_nothing,
    messages_about_who_hears_what_cannot_be_switched_off,
    times_are_in_the_zone_of_the_reader,
    the_pages_hand_over_and_switch,
    changes_that_are_mailed_have_a_pace_and_those_without_a_change_are_none,
}

const HOUR: Duration = Duration::from_secs(3600);
const MICRO: Duration = Duration::from_micros(1);

async fn mailing(world: &mut World) -> MailServer {
    let server = MailServer::start().await;
    world.restart_with_mailer(Some(server.mailer())).await;
    server
}

/// Sends what is queued. Returns the recipients with the subjects, in order.
async fn sent(world: &World, server: &MailServer) -> Vec<(String, String)> {
    let mut sent: Vec<_> = letters(world, server).await.iter().map(about).collect();
    sent.sort();
    sent
}

async fn letters(world: &World, server: &MailServer) -> Vec<Message> {
    while Box::pin(world.app.send_due_messages()).await.unwrap() {}
    server.take()
}

fn about(message: &Message) -> (String, String) {
    (message.to.clone(), message.header("Subject"))
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(to, subject)| ((*to).to_owned(), (*subject).to_owned())).collect()
}

async fn own_by(world: &World, client: &Client, owners: &[&str]) {
    let body = json!({"owners": owners, "confirm_client_name": client.name});
    world.owner().await.patch(&format!("/clients/{}", client.id), body).await.ok();
}

async fn owners_of(world: &World, client: &Client) -> Value {
    world.owner().await.get(&format!("/clients/{}", client.id)).await.ok()["owners"].clone()
}

async fn id_of(world: &World, email: &str) -> String {
    let found = world.owner().await.get(&format!("/users?q={email}")).await.ok();
    found["items"][0]["id"].as_str().unwrap_or_else(|| panic!("{email}: {found}")).to_owned()
}

/// An account of a person who has used it.
async fn person<'w>(world: &'w World, email: &str, role: &str) -> Principal<'w> {
    let principal = world.user(email, role).await;
    world.raw(&format!("UPDATE users SET password_hash = 'x' WHERE email = '{email}'")).await;
    principal
}

async fn put(principal: &Principal<'_>, path: &str, body: Value) -> Answer {
    principal.call(Method::PUT, path, Some(body.to_string()), &[]).await
}

/// Rotates, and returns the path under the rotation.
async fn rotate(world: &World, client: &Client, hours: u32) -> String {
    let path = client.path("production", "/secrets/rotate");
    let reply = world.owner().await.post(&path, client.rotation(hours)).await.created();
    client.path("production", &format!("/rotations/{}", reply["rotation"]["id"].as_str().unwrap()))
}

async fn events(world: &World, action: &str) -> Vec<Value> {
    let found = world.owner().await.get(&format!("/audit-events?action={action}")).await.ok();
    found["items"].as_array().unwrap().clone()
}

/// An account without a role on the platform, and the property of a client.
async fn without_role<'w>(world: &'w World, email: &str) -> (String, Principal<'w>) {
    let user = world.owner().await.post("/users", json!({"email": email})).await.created();
    (user["id"].as_str().unwrap().to_owned(), world.token_of(email, &[]).await)
}

async fn an_owner_is_a_user_or_a_group_and_only_who_reads_users_learns_whose_account_it_is(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let viewer = world.user("grace@example.com", "viewer").await;
    own_by(&world, &client, &["team@example.com", "grace@example.com"]).await;
    let path = format!("/clients/{}", client.id);
    let shown = world.owner().await.get(&path).await.ok();
    assert_eq!(shown["owners"], json!(["team@example.com", "grace@example.com"]));
    let grace = id_of(&world, "grace@example.com").await;
    let group = json!({"owner": "team@example.com", "kind": "group", "user_id": null, "name": null});
    let user = json!({"owner": "grace@example.com", "kind": "user", "user_id": grace, "name": "grace"});
    assert_eq!(shown["owner_details"], json!([group, user]));
    let seen = viewer.get("/clients").await.ok()["items"][0]["owner_details"].clone();
    // Otherwise anyone who can create a client could ask which addresses have an account.
    let vague = |owner: &str| json!({"owner": owner, "kind": null, "user_id": null, "name": null});
    assert_eq!(seen, json!([vague("team@example.com"), vague("grace@example.com")]));
}

async fn clients_without_an_owner_are_listed_counted_and_shown(world: World) {
    let billing = world.client("Billing", &["production"]).await;
    world.advance(MICRO);
    let ledger = world.client("Ledger", &["production"]).await;
    let owner = world.owner().await;
    let names = async |query: &str| -> Vec<String> {
        let found = owner.get(&format!("/clients?{query}")).await.ok();
        let items = found["items"].as_array().unwrap().iter();
        items.map(|it| it["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("ownerless=true").await, [""; 0]);
    own_by(&world, &ledger, &[]).await;
    assert_eq!(names("ownerless=true").await, ["Ledger"]);
    assert_eq!(names("ownerless=false").await, ["Billing", "Ledger"]);
    assert_eq!(names("ownerless=true&overdue=true").await, [""; 0]);
    owner.get("/clients?ownerless=yes").await.refused(400, "invalid_query");
    assert_eq!(world.app.measure().await.stored.unwrap().clients_ownerless, 1);
    let browser = world.signed_in().await;
    assert!(browser.get("/console").await.page(200).contains("1 client has no owner."));
    for sort in ["", "&sort=name-reversed", "&sort=oldest-secret", "&sort=newest-secret"] {
        let listed = browser.get(&format!("/console/clients?ownerless=true{sort}")).await.page(200);
        assert!(listed.contains(&ledger.id) && !listed.contains(&billing.id), "{sort}");
    }
    // Only of what one can read.
    let (user, limited) = without_role(&world, "eve@example.com").await;
    let grant = json!({"role": "viewer", "client_id": billing.id});
    owner.post(&format!("/users/{user}/grants"), grant).await.created();
    assert_eq!(limited.get("/clients?ownerless=true").await.ok()["items"], json!([]));
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
    let mut to: Vec<_> = letters.iter().map(about).collect();
    to.sort();
    assert_eq!(
        to,
        pairs(&[
            ("alan@example.com", "You take over 2 clients"),
            ("grace@example.com", "You are no longer an owner: 2 clients"),
            ("team@example.com", "An owner has gone: Billing"),
        ])
    );
    assert!(letters.iter().all(|it| it.text.contains("The account of grace was deleted.")));
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

async fn the_owners_of_a_new_client_are_told_and_its_creator_is_not(mut world: World) {
    let server = mailing(&mut world).await;
    let owner = world.owner().await;
    let property = owner.post("/properties", json!({"name": "Shop"})).await.created()["id"].clone();
    let create = async |name: &str, owners: Value| {
        let body =
            json!({"name": name, "property_id": property, "environments": ["staging"], "owners": owners});
        owner.post("/clients", body).await.created()
    };
    create("Billing", json!([OWNER, "team@example.com", "grace@example.com"])).await;
    let letters = letters(&world, &server).await;
    let mut to: Vec<_> = letters.iter().map(about).collect();
    to.sort();
    let told = [
        ("grace@example.com", "You are an owner: Billing"),
        ("team@example.com", "You are an owner: Billing"),
    ];
    assert_eq!(to, pairs(&told));
    assert!(letters.iter().all(|it| it.text.contains(OWNER)), "each reads who else owns it");
    create("Own", json!([OWNER])).await;
    create("Nobody", json!([])).await;
    assert_eq!(sent(&world, &server).await, pairs(&[]));
    // A repeated request tells nobody again, and the switch of each person holds.
    let body = json!({"name": "Once", "property_id": property, "environments": ["staging"], "owners": ["team@example.com"]});
    for _ in 0..2 {
        let key = [("idempotency-key", "one")];
        owner.call(Method::POST, "/clients", Some(body.to_string()), &key).await.created();
    }
    assert_eq!(sent(&world, &server).await, pairs(&[("team@example.com", "You are an owner: Once")]));
    // A stolen token fills no mailbox: new clients share the pace of all changes that are mailed.
    let mut done = 0;
    let off = |word: &str| json!({"off": [word]});
    while put(&owner, "/me/messages", off(["wake", "today"][done % 2])).await.status.as_u16() == 200 {
        done += 1;
        assert!(done < 2000, "it never ends");
    }
    // A pace that was slow itself has room for a few more.
    let mut made = 0;
    let refused = loop {
        let body = json!({"name": format!("More {made}"), "property_id": property, "environments": ["staging"],
            "owners": ["victim@example.com"]});
        let answer = owner.post("/clients", body).await;
        if answer.status.as_u16() != 201 {
            break answer;
        }
        made += 1;
        assert!(made < 100, "it never ends");
    };
    refused.refused(429, "too_many_requests");
    create("Without owners", json!([])).await;
}

async fn a_mail_names_the_webhooks_among_the_owners(mut world: World) {
    let server = mailing(&mut world).await;
    let client = world.client("Billing", &["production"]).await;
    let hook = json!({"name": "Alerts of the shop", "url": "https://hooks.example.com/x", "confirm_name": "platform"});
    let hook = world.owner().await.post("/webhooks", hook).await.created();
    own_by(&world, &client, &[hook["id"].as_str().unwrap(), "team@example.com"]).await;
    let letters = letters(&world, &server).await;
    let letter = letters.iter().find(|it| it.to == "team@example.com").unwrap();
    assert!(letter.text.contains("Alerts of the shop (webhook)"), "{}", letter.text);
    assert!(!letter.text.contains("wh_"), "{}", letter.text);
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
    let mut to: Vec<_> = letters.iter().map(about).collect();
    to.sort();
    assert_eq!(
        to,
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

async fn own_by_path(world: &World, path: &str, name: &str) {
    let body = json!({"owners": ["team@example.com"], "confirm_client_name": name});
    world.owner().await.patch(path, body).await.ok();
}

async fn an_address_that_changes_takes_its_clients_along_and_the_old_one_is_told(mut world: World) {
    let server = mailing(&mut world).await;
    let client = world.client("Billing", &["production"]).await;
    world.user("grace@example.com", "viewer").await;
    own_by(&world, &client, &["grace@example.com"]).await;
    sent(&world, &server).await;
    let (owner, grace) =
        (world.owner().await, format!("/users/{}", id_of(&world, "grace@example.com").await));
    let moved = |name: Option<&str>| json!({"email": "hopper@example.com", "confirm_user_name": name});
    owner.patch(&grace, json!({"email": "hopper@example.com"})).await.refused(422, "confirmation_mismatch");
    owner.patch(&grace, moved(Some("Grace H"))).await.refused(422, "confirmation_mismatch");
    let limited = world.token_of(OWNER, &["user:manage", "user:read"]).await;
    limited.patch(&grace, moved(Some("grace"))).await.refused(403, "forbidden");
    assert_eq!(owners_of(&world, &client).await, json!(["grace@example.com"]));
    owner.patch(&grace, json!({"name": "Grace", "email": "grace@example.com"})).await.ok();
    owner.patch(&grace, moved(Some("Grace"))).await.ok();
    assert_eq!(owners_of(&world, &client).await, json!(["hopper@example.com"]));
    assert_eq!(events(&world, "client.handed_over").await[0]["details"]["cause"], "address_changed");
    let about_client: Vec<_> =
        sent(&world, &server).await.into_iter().filter(|(_, subject)| subject.ends_with("Billing")).collect();
    assert_eq!(
        about_client,
        pairs(&[
            ("grace@example.com", "Messages go to another address: Billing"),
            ("hopper@example.com", "You take over a client: Billing"),
        ])
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

async fn a_transition_is_seen_once_by_name_and_time(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let grace = world.user("grace@example.com", "viewer").await;
    own_by(&world, &client, &["grace@example.com"]).await;
    let path = rotate(&world, &client, 24).await;
    let first = grace.post(&format!("{path}/seen"), json!({})).await.ok();
    let at = first["seen"][0]["seen_at"].clone();
    assert_eq!(first["seen_by_owner"], true);
    assert_eq!(first["seen"][0]["name"], "grace");
    world.advance(HOUR);
    assert_eq!(grace.post(&format!("{path}/seen"), json!({})).await.ok(), first);
    assert_eq!(events(&world, "transition.seen").await.len(), 1);
    world.owner().await.post(&format!("{path}/seen"), json!({})).await.ok();
    let listed = grace.get(&client.path("production", "/rotations")).await.ok()["items"][0]["seen"].clone();
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["seen_at"]), (2, &at));
    let browser = world.signed_in().await;
    let page = format!("/console/clients/{}/environments/production/security", client.id);
    let page = browser.get(&page).await.page(200);
    assert!(page.contains("Seen by grace") && !page.contains("Mark as seen"), "{page}");
    // It ends with its transition, and another has its own.
    world.advance(HOUR * 23);
    grace.post(&format!("{path}/seen"), json!({})).await.refused(409, "not_retiring");
    let other = rotate(&world, &client, 24).await;
    assert_ne!(other, path);
    let listed = grace.get(&client.path("production", "/rotations")).await.ok();
    assert_eq!(listed["items"][0]["seen"], json!([]));
}

async fn only_an_owner_and_whoever_can_rotate_mark_a_transition_as_seen(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let grace = world.user("grace@example.com", "viewer").await;
    own_by(&world, &client, &["grace@example.com"]).await;
    let path = format!("{}/seen", rotate(&world, &client, 24).await);
    let viewer = world.user("eve@example.com", "viewer").await;
    viewer.post(&path, json!({})).await.refused(403, "forbidden");
    let (_, nobody) = without_role(&world, "nobody@example.com").await;
    nobody.post(&path, json!({})).await.refused(404, "not_found");
    // A limited token of an owner is a program, and does not keep the managers from being warned.
    let limited = world.token_of("grace@example.com", &["client:read"]).await;
    limited.post(&path, json!({})).await.refused(403, "forbidden");
    let limited = world.token_of(OWNER, &["client:read", "secret:rotate"]).await;
    limited.post(&path, json!({})).await.refused(403, "forbidden");
    let owner = world.owner().await;
    let robot = owner.post("/users", json!({"kind": "program", "name": "robot"})).await.created();
    let robot = robot["id"].as_str().unwrap();
    let grant = json!({"role": "secret_rotator"});
    owner.post(&format!("/users/{robot}/grants"), grant).await.created();
    world.token_of(robot, &[]).await.post(&path, json!({})).await.refused(409, "not_a_person");
    grace.post(&path, json!({"nonsense": 1})).await.refused(422, "invalid_body");
    let other = path.replace("/rotations/rot_", "/rotations/rot_0");
    grace.post(&other, json!({})).await.refused(404, "not_found");
    assert_eq!(world.number("SELECT COUNT(*) FROM seen").await, 0);
    grace.post(&path, json!({})).await.ok();
    world.user("rotator@example.com", "secret_rotator").await.post(&path, json!({})).await.ok();
    assert_eq!(world.number("SELECT COUNT(*) FROM seen").await, 2);
}

async fn a_mark_of_somebody_else_says_that_the_managers_are_still_warned(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let grace = person(&world, "grace@example.com", "viewer").await;
    own_by(&world, &client, &["grace@example.com"]).await;
    let path = format!("{}/seen", rotate(&world, &client, 24).await);
    let page = format!("/console/clients/{}/environments/production/security", client.id);
    let browser = world.signed_in().await;
    assert!(browser.get(&page).await.page(200).contains("No owner has marked this transition as seen."));
    let done = browser.post(&format!("/console{path}"), &[]).await.leads_to().to_owned();
    let shown = browser.get(&done).await.page(200);
    assert!(
        shown.contains("its managers are still warned") && shown.contains("No owner of the client has"),
        "{shown}"
    );
    assert!(!shown.contains("are not warned in addition"), "{shown}");
    assert_eq!(world.owner().await.post(&path, json!({})).await.ok()["seen_by_owner"], false);
    assert_eq!(grace.post(&path, json!({})).await.ok()["seen_by_owner"], true);
    let shown = browser.get(&page).await.page(200);
    assert!(shown.contains("Seen by") && !shown.contains("managers are warned, too"), "{shown}");
    // An owner whose account was deleted no longer looks after the transition.
    world.raw("UPDATE users SET deleted_at = 1 WHERE email = 'grace@example.com'").await;
    assert_eq!(world.owner().await.post(&path, json!({})).await.ok()["seen_by_owner"], false);
}

/// A scanner of mail follows links; only the form acts.
async fn a_link_in_a_mail_marks_nothing(mut world: World) {
    let server = mailing(&mut world).await;
    let client = world.client("Billing", &["production"]).await;
    let rotation = rotate(&world, &client, 48).await;
    world.advance(HOUR * 24);
    world.run_jobs().await;
    let letters = letters(&world, &server).await;
    let warning = letters.iter().find(|it| it.header("Subject").contains("still needed")).unwrap();
    let page = format!("/console/clients/{}/environments/production/security", client.id);
    assert!(warning.text.replace("=\r\n", "").contains(&format!("{page}#seen")), "{}", warning.text);
    let browser = world.signed_in().await;
    browser.get(&page).await.page(200);
    let form = format!("/console{rotation}/seen");
    assert!(browser.get(&form).await.leads_to().ends_with("/security"));
    assert_eq!(world.number("SELECT COUNT(*) FROM seen").await, 0);
    assert!(browser.post(&form, &[]).await.leads_to().ends_with("/security"));
    assert!(browser.get(&page).await.page(200).contains("Seen by"));
    assert_eq!(world.number("SELECT COUNT(*) FROM seen").await, 1);
}

async fn managers_are_warned_from_four_hours_on_unless_somebody_has_seen_it(mut world: World) {
    let server = mailing(&mut world).await;
    for is_seen in [false, true] {
        let name = if is_seen { "Ledger" } else { "Billing" };
        let client = world.client(name, &["production"]).await;
        // A manager who is an owner is warned once.
        own_by(&world, &client, &["ada@example.com", OWNER]).await;
        world.user(&format!("ops{is_seen}@example.com"), "operations_manager").await;
        let rotation = rotate(&world, &client, 48).await;
        sent(&world, &server).await;
        let warned = async |span: Duration| -> Vec<String> {
            world.advance(span);
            world.run_jobs().await;
            sent(&world, &server).await.into_iter().map(|(to, _)| to).collect()
        };
        let owners = ["ada@example.com".to_owned(), OWNER.to_owned()];
        assert_eq!(warned(HOUR * 24).await, owners, "24 hours before");
        if is_seen {
            world.owner().await.post(&format!("{rotation}/seen"), json!({})).await.ok();
        }
        assert_eq!(warned(HOUR * 20 - MICRO).await, [""; 0]);
        let at_four = warned(MICRO).await;
        assert_eq!(at_four.len(), if is_seen { 2 } else { 3 }, "{at_four:?}");
        assert_eq!(at_four.contains(&"opsfalse@example.com".to_owned()), !is_seen, "{at_four:?}");
        assert_eq!(warned(HOUR * 3).await.len(), at_four.len(), "1 hour before");
        warned(HOUR * 2).await;
    }
    // Somebody who is no owner does not keep the managers from being warned, and another deadline is to be seen again.
    let client = world.client("Payments", &["production"]).await;
    own_by(&world, &client, &[OWNER]).await;
    let rotator = world.user("rotator@example.com", "secret_rotator").await;
    let rotation = rotate(&world, &client, 24).await;
    sent(&world, &server).await;
    rotator.post(&format!("{rotation}/seen"), json!({})).await.ok();
    world.advance(HOUR * 20);
    world.run_jobs().await;
    assert_eq!(sent(&world, &server).await.len(), 3, "the owner and two managers");
    world.owner().await.post(&format!("{rotation}/seen"), json!({})).await.ok();
    let secret = client.registration("production").secret_id.clone();
    let until = (world.now().after(HOUR * 12)).to_string();
    let body = json!({"expires_at": until, "reason": "late"});
    let path = client.path("production", &format!("/secrets/{secret}/extend"));
    world.owner().await.post(&path, body).await.ok();
    sent(&world, &server).await;
    world.advance(HOUR * 8);
    world.run_jobs().await;
    assert_eq!(sent(&world, &server).await.len(), 3, "the owner and two managers");
    world.advance(HOUR * 4);
    world.run_jobs().await;
    sent(&world, &server).await;
    // Nobody owns it, and somebody hears of it.
    let client = world.client("Lone", &["production"]).await;
    own_by(&world, &client, &[]).await;
    sent(&world, &server).await;
    rotate(&world, &client, 8).await;
    world.advance(HOUR * 4);
    world.run_jobs().await;
    let to: Vec<_> = sent(&world, &server).await.into_iter().map(|(to, _)| to).collect();
    assert_eq!(to, ["opsfalse@example.com", "opstrue@example.com", OWNER]);
}

async fn what_a_person_switched_off_is_not_sent_to_them(mut world: World) {
    let server = mailing(&mut world).await;
    let client = world.client("Billing", &["production"]).await;
    let grace = world.user("grace@example.com", "viewer").await;
    own_by(&world, &client, &["grace@example.com", "team@example.com"]).await;
    sent(&world, &server).await;
    let read = grace.get("/me/messages").await.ok();
    assert_eq!((&read["off"], &read["time_zone"]), (&json!([]), &Value::Null));
    let off = json!({"off": ["secret.rotated"]});
    let reply = put(&grace, "/me/messages", off.clone()).await.ok();
    assert_eq!(reply, grace.get("/me/messages").await.ok());
    let kind = reply["kinds"].as_array().unwrap().iter().find(|it| it["kind"] == "secret.rotated").unwrap();
    assert_eq!((&kind["is_sent"], &kind["class"]), (&json!(false), &json!("today")));
    assert_eq!(events(&world, "user.messages_updated").await.len(), 1);
    let told = sent(&world, &server).await;
    assert_eq!((told.len(), told[0].0.as_str()), (1, "grace@example.com"), "{told:?}");
    assert!(told[0].1.starts_with("Your messages were switched on or off"), "{told:?}");
    rotate(&world, &client, 24).await;
    let rotated = [("team@example.com", "Secret rotated: Billing in production")];
    assert_eq!(sent(&world, &server).await, pairs(&rotated));
    // A class stops all its kinds. Setting the same again tells nobody.
    put(&grace, "/me/messages", json!({"off": ["today"]})).await.ok();
    put(&grace, "/me/messages", json!({"off": ["today"], "time_zone": "UTC"})).await.ok();
    assert_eq!(sent(&world, &server).await.len(), 1);
    world.advance(HOUR * 23);
    world.run_jobs().await;
    let imminent = sent(&world, &server).await;
    assert!(imminent.iter().any(|(to, _)| to == "grace@example.com"), "of another class: {imminent:?}");
    world.advance(HOUR);
    world.run_jobs().await;
    assert_eq!(sent(&world, &server).await.len(), 1, "only the group hears that it has expired");
    let tag = grace.get("/me/messages").await.header("etag").unwrap().to_owned();
    let stale = [("if-match", "\"1\"")];
    grace
        .call(Method::PUT, "/me/messages", Some("{}".into()), &stale)
        .await
        .refused(412, "precondition_failed");
    grace.call(Method::PUT, "/me/messages", Some("{}".into()), &[("if-match", &*tag)]).await.ok();
    for wrong in [json!({"off": ["nonsense"]}), json!({"off": "today"}), json!({"time_zone": "Berlin"})] {
        put(&grace, "/me/messages", wrong).await.refused(422, "invalid_body");
    }
}

/// If a stolen secret rotates itself, the message is the only sign.
async fn a_rotation_by_the_client_itself_is_told_whatever_is_off(mut world: World) {
    let server = mailing(&mut world).await;
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    own_by(&world, &client, &[OWNER, "team@example.com"]).await;
    owner.patch(&client.path("production", ""), json!({"self_rotation": true})).await.ok();
    put(&owner, "/me/messages", json!({"off": ["secret.rotated"]})).await.ok();
    let off = json!({"off": ["today"], "confirm_client_name": "Billing"});
    put(&owner, &format!("/clients/{}/messages", client.id), off).await.ok();
    sent(&world, &server).await;
    let place = client.registration("production");
    let basic = crate::oauth::basic(format!("{}:{}", place.client_id, place.secret));
    let headers = [("authorization", basic.as_str()), ("idempotency-key", "0123456789abcdefghijkl")];
    let reply = world.oauth("production").form("rotate-secret", &[], &headers).await;
    assert_eq!(reply.status.as_u16(), 200, "{}", String::from_utf8_lossy(&reply.bytes));
    let told: Vec<_> = sent(&world, &server).await.into_iter().map(|(to, _)| to).collect();
    assert_eq!(told, [OWNER, "team@example.com"]);
}

/// An attacker who manages clients silences the owners before an attack. That is not silent.
async fn what_is_off_for_a_client_is_sent_to_nobody_and_the_owners_are_told_of_that(mut world: World) {
    let server = mailing(&mut world).await;
    let client = world.client("Billing", &["production"]).await;
    world.user("grace@example.com", "viewer").await;
    own_by(&world, &client, &["grace@example.com", "team@example.com"]).await;
    sent(&world, &server).await;
    let path = format!("/clients/{}/messages", client.id);
    let owner = world.owner().await;
    let off = |name: &str| json!({"off": ["today", "wake"], "confirm_client_name": name, "reason": "noise"});
    put(&owner, &path, off("Biling")).await.refused(422, "confirmation_mismatch");
    put(&owner, &path, json!({"off": ["wake"]})).await.refused(422, "confirmation_mismatch");
    let viewer = world.user("eve@example.com", "viewer").await;
    put(&viewer, &path, off("Billing")).await.refused(403, "forbidden");
    let (_, nobody) = without_role(&world, "nobody@example.com").await;
    put(&nobody, &path, off("Billing")).await.refused(404, "not_found");
    nobody.get(&path).await.refused(404, "not_found");
    let _ = sent(&world, &server).await;
    put(&owner, &path, off("Billing")).await.ok();
    let switched = "Messages switched on or off: Billing";
    let told = pairs(&[("grace@example.com", switched), ("team@example.com", switched)]);
    assert_eq!(sent(&world, &server).await, told);
    assert_eq!(viewer.get(&path).await.ok()["off"], json!(["wake", "today"]));
    let event = &events(&world, "client.messages_updated").await[0];
    assert_eq!((&event["details"]["off"], &event["reason"]), (&json!(["wake", "today"]), &json!("noise")));
    rotate(&world, &client, 24).await;
    world.advance(HOUR * 23);
    world.run_jobs().await;
    assert_eq!(sent(&world, &server).await, [], "neither the group, nor a person, nor a manager");
    own_by(&world, &client, &["evil@example.net"]).await;
    let redirected = sent(&world, &server).await;
    assert_eq!(redirected.len(), 3, "who was removed is told: {redirected:?}");
    // On again, without the name.
    put(&owner, &path, json!({"off": []})).await.ok();
    assert_eq!(sent(&world, &server).await.len(), 1);
    world.advance(HOUR);
    world.run_jobs().await;
    assert_eq!(sent(&world, &server).await.len(), 1);
}

async fn a_limited_token_and_a_program_switch_nothing(world: World) {
    world.user("grace@example.com", "viewer").await;
    let limited = world.token_of("grace@example.com", &["client:read"]).await;
    limited.get("/me/messages").await.refused(403, "forbidden");
    put(&limited, "/me/messages", json!({"off": ["today"]})).await.refused(403, "forbidden");
    let robot = json!({"kind": "program", "name": "robot"});
    let robot = world.owner().await.post("/users", robot).await.created();
    let robot = world.token_of(robot["id"].as_str().unwrap(), &[]).await;
    put(&robot, "/me/messages", json!({"off": ["today"]})).await.refused(403, "forbidden");
    assert_eq!(world.number("SELECT COUNT(*) FROM messages_off").await, 0);
    // The switches of an account end with it.
    let grace = world.token_of("grace@example.com", &[]).await;
    put(&grace, "/me/messages", json!({"off": ["today"]})).await.ok();
    let id = id_of(&world, "grace@example.com").await;
    world.owner().await.delete(&format!("/users/{id}"), json!({})).await;
    assert_eq!(world.number("SELECT COUNT(*) FROM messages_off").await, 0);
}

async fn messages_about_who_hears_what_cannot_be_switched_off(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let kinds = owner.get("/me/messages").await.ok()["kinds"].clone();
    let always: Vec<_> = kinds.as_array().unwrap().iter().filter(|it| it["can_be_off"] == false).collect();
    assert!(always.len() >= 2, "{kinds}");
    for kind in always {
        let off = json!({"off": [kind["kind"]], "confirm_client_name": "Billing"});
        let path = format!("/clients/{}/messages", client.id);
        assert_eq!(put(&owner, &path, off).await.refused(422, "invalid_body")["field"], "off");
        put(&owner, "/me/messages", json!({"off": [kind["kind"]]})).await.refused(422, "invalid_body");
    }
}

/// An attacker with any account fills the trail, and with the permission for accounts mailboxes, too.
async fn changes_that_are_mailed_have_a_pace_and_those_without_a_change_are_none(world: World) {
    let owner = world.owner().await;
    let off = |kind: &str| json!({"off": [kind]});
    put(&owner, "/me/messages", off("today")).await.ok();
    let tag = owner.get("/me/messages").await.header("etag").unwrap().to_owned();
    for _ in 0..300 {
        put(&owner, "/me/messages", off("today")).await.ok();
    }
    assert_eq!(events(&world, "user.messages_updated").await.len(), 1);
    assert_eq!(owner.get("/me/messages").await.header("etag"), Some(&*tag));
    let mut done = 0;
    let refused = loop {
        let answer = put(&owner, "/me/messages", off(["wake", "today"][done % 2])).await;
        if answer.status.as_u16() != 200 {
            break answer;
        }
        done += 1;
        assert!(done < 2000, "it never ends");
    };
    assert!(done >= 490, "{done}");
    assert_eq!(refused.header("retry-after"), Some("1"));
    refused.refused(429, "too_many_requests");
    let program = json!({"kind": "program", "name": "robot"});
    owner.post("/users", program).await.created();
    let viewer = world.token_of(OWNER, &["client:read"]).await;
    viewer.get("/clients").await.ok();
}

async fn times_are_in_the_zone_of_the_reader(mut world: World) {
    let server = mailing(&mut world).await;
    let client = world.client("Billing", &["production"]).await;
    let grace = world.user("grace@example.com", "viewer").await;
    own_by(&world, &client, &["grace@example.com", "team@example.com"]).await;
    sent(&world, &server).await;
    let reply = put(&grace, "/me/messages", json!({"time_zone": "europe/berlin"})).await.ok();
    assert_eq!(reply["time_zone"], "Europe/Berlin");
    rotate(&world, &client, 24).await;
    for letter in letters(&world, &server).await {
        let text = letter.text.replace("=\r\n", "").replace("\r\n", " ");
        let is_grace = letter.to == "grace@example.com";
        assert_eq!(text.contains("25 Nov 2026, 14:05 in Berlin (13:05 UTC)"), is_grace, "{text}");
        assert_eq!(text.contains("valid until 25 Nov 2026, 13:05 UTC"), !is_grace, "{text}");
    }
    let at = format!("/users/{}", id_of(&world, "grace@example.com").await);
    world.owner().await.delete(&at, json!({"confirm_user_name": "grace"})).await.ok();
    assert_eq!(world.number("SELECT COUNT(*) FROM users WHERE time_zone IS NOT NULL").await, 0);
}

async fn the_pages_hand_over_and_switch(world: World) {
    let client = world.client("Billing", &["production"]).await;
    world.user("grace@example.com", "viewer").await;
    own_by(&world, &client, &["grace@example.com"]).await;
    let browser = world.signed_in().await;
    let person = format!("/console/people/{}", id_of(&world, "grace@example.com").await);
    let page = browser.get(&person).await.page(200);
    assert!(page.contains("grace owns 1 client.") && page.contains("managers: owner@example.com"), "{page}");
    let delete = async |browser: &Browser<'_>, to: &str, name: &str| {
        let fields = [("hand_over_to", to), ("confirm_user_name", name)];
        browser.post(&format!("{person}/delete"), &fields).await
    };
    delete(&browser, "nobody", "grace").await.page(422);
    delete(&browser, "team@example.com", "wrong").await.page(422);
    assert_eq!(owners_of(&world, &client).await, json!(["grace@example.com"]));
    let done = delete(&browser, "team@example.com", "grace").await;
    assert_eq!(done.leads_to(), "/console/people");
    assert!(browser.get("/console/people").await.page(200).contains("its clients were handed over"));
    assert_eq!(owners_of(&world, &client).await, json!(["team@example.com"]));
    // Messages of the account and of the client.
    let off = [("off", "secret.rotated"), ("off", "wake"), ("time_zone", " Europe/Berlin ")];
    browser.post("/console/account/messages", &off).await;
    let page = browser.get("/console/account").await.page(200);
    assert!(page.contains("value=\"secret.rotated\" checked") && page.contains("Europe/Berlin"), "{page}");
    browser.post("/console/account/messages", &[("time_zone", "Mars")]).await.page(422);
    let settings = format!("/console/clients/{}/settings", client.id);
    let form = format!("/console/clients/{}/messages", client.id);
    browser.post(&form, &[("off", "wake"), ("confirm_client_name", "")]).await.page(422);
    browser.post(&form, &[("off", "wake"), ("confirm_client_name", "Billing")]).await;
    assert!(browser.get(&settings).await.page(200).contains("value=\"wake\" checked"));
}
