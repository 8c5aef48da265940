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

pub(crate) mod hand_over;
mod seen;
mod switches;
mod unheard;

on_both_engines! {
    an_owner_is_a_user_or_a_group_and_only_who_reads_users_learns_whose_account_it_is,
    clients_without_an_owner_are_listed_counted_and_shown,
    the_owners_of_a_new_client_are_told_and_its_creator_is_not,
    a_mail_names_the_webhooks_among_the_owners_to_who_manages_them,
    the_pages_hand_over_and_switch,
    changes_that_are_mailed_have_a_pace_and_those_without_a_change_are_none,
    the_pace_of_mailed_changes_counts_their_messages,
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
    subjects(&letters(world, server).await)
}

async fn letters(world: &World, server: &MailServer) -> Vec<Message> {
    while Box::pin(world.app.send_due_messages()).await.unwrap() {}
    server.take()
}

/// Returns the recipients of letters with the subjects, in order.
fn subjects(letters: &[Message]) -> Vec<(String, String)> {
    let mut subjects: Vec<_> = letters.iter().map(about).collect();
    subjects.sort();
    subjects
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

async fn a_mail_names_the_webhooks_among_the_owners_to_who_manages_them(mut world: World) {
    let server = mailing(&mut world).await;
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let create = async |name: &str, more: Value| {
        let mut hook =
            json!({"name": name, "url": "https://hooks.example.com/x", "confirm_name": "platform"});
        hook.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        owner.post("/webhooks", hook).await.created()["id"].as_str().unwrap().to_owned()
    };
    let of_all = create("Alerts of the shop", json!({})).await;
    let own = create("Alerts of Billing", json!({"client_id": client.id, "confirm_name": "Billing"})).await;
    // Grace manages the client alone, and Stan a part of it.
    for (email, environments) in
        [("grace@example.com", Value::Null), ("stan@example.com", json!(["production"]))]
    {
        world.user(email, "viewer").await;
        let mut grant = json!({"role": "application_manager", "client_id": client.id});
        if !environments.is_null() {
            grant["environments"] = environments;
        }
        owner.post(&format!("/users/{}/grants", id_of(&world, email).await), grant).await.created();
    }
    let people = [OWNER, "grace@example.com", "stan@example.com", "team@example.com"];
    own_by(&world, &client, &[&of_all, &own, OWNER, people[1], people[2], people[3]]).await;
    // Whoever stops being an owner reads no more than before.
    let added = letters(&world, &server).await;
    own_by(&world, &client, &[&of_all, &own, OWNER]).await;
    let removed = letters(&world, &server).await;
    for letters in [added, removed] {
        let about_owners = |it: &&Message| it.header("Subject").to_lowercase().contains("owner");
        let named = |to: &str| {
            let letter = letters.iter().filter(about_owners).find(|it| it.to == to);
            let text = letter.unwrap().text.clone();
            let of = |name: &str, id: &str| {
                let (named, bare) = (text.contains(&format!("{name} (webhook)")), text.contains(id));
                assert!(named != bare && (named || !text.contains(name)), "{to}: {text}");
                named
            };
            (of("Alerts of the shop", &of_all), of("Alerts of Billing", &own))
        };
        let expected = [(true, true), (false, true), (false, false), (false, false)];
        assert_eq!(people.map(named), expected);
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

async fn the_pace_of_mailed_changes_counts_their_messages(world: World) {
    let owner = world.owner().await;
    let client = world.client("Billing", &["production"]).await;
    let at = format!("/clients/{}", client.id);
    let addresses = |set: usize| -> Vec<String> {
        (0..50).map(|number| format!("list{set}-{number}@example.com")).collect()
    };
    let set = async |set: usize| {
        let body = json!({"owners": addresses(set), "confirm_client_name": "Billing"});
        owner.call(Method::PATCH, &at, Some(body.to_string()), &[]).await
    };
    set(0).await.ok();
    // Each tells 50 that come and 50 that go.
    let mut done = 0;
    let refused = loop {
        done += 1;
        let answer = set(done).await;
        if answer.status.as_u16() != 200 {
            break answer;
        }
        assert!(done < 50, "it never ends");
    };
    // On a slow machine, some of the pace comes back meanwhile.
    assert!(done >= 4, "{done}");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((2..=25).contains(&wait), "{wait}");
    let said = refused.refused(429, "too_many_requests")["detail"].as_str().unwrap().to_owned();
    assert!(said.contains(&format!("Try again in {wait} seconds")), "{said}");
    assert_eq!(owners_of(&world, &client).await, json!(addresses(done - 1)), "nothing was changed");
    // Those of a new client and of its switches count, too, and what mails nobody is not held up.
    let property = owner.get(&at).await.ok()["property_id"].clone();
    let new = |owners: Value| json!({"name": "New", "property_id": property, "environments": ["production"], "owners": owners});
    let mut made = 0;
    let refused = loop {
        let answer = owner.post("/clients", new(json!(addresses(100 + made)))).await;
        if answer.status.as_u16() != 201 {
            break answer;
        }
        made += 1;
        assert!(made < 3, "less than two such are left, however slow this machine is");
    };
    refused.refused(429, "too_many_requests");
    let mut made = 0;
    let refused = loop {
        let off = ["secret.rotated", "secret.revoked"][made % 2];
        let body = json!({"off": [off], "confirm_client_name": "Billing"});
        let answer = put(&owner, &format!("{at}/messages"), body).await;
        if answer.status.as_u16() != 200 {
            break answer;
        }
        made += 1;
        assert!(made < 3, "less than two such are left, however slow this machine is");
    };
    refused.refused(429, "too_many_requests");
    owner.post("/clients", new(json!([OWNER]))).await.created();
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
