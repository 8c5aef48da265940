//! Names of what a webhook is about, for those who can read them, and the clients that a person can choose.

use super::{SECOND, create, id, manager, manager_in, path, posting, sent};
use crate::{engines::on_both_engines, receiver::Receiver, world::World};
use serde_json::{Value, json};

on_both_engines! {
    a_webhook_has_the_name_of_what_it_is_about_for_those_who_can_read_it,
    the_form_takes_a_client_by_its_name_and_says_what_is_wrong,
    the_form_offers_and_takes_only_clients_that_the_person_manages,
    an_owner_that_is_a_webhook_has_its_name_for_those_who_manage_it,
}

async fn a_webhook_has_the_name_of_what_it_is_about_for_those_who_can_read_it(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    let owner = world.owner().await;
    let property = owner.get(&format!("/clients/{}", client.id)).await.ok()["property_id"].clone();
    let of_client =
        create(&world, &receiver, json!({"client_id": client.id, "confirm_name": "Billing"})).await;
    world.advance(SECOND);
    let of_property =
        create(&world, &receiver, json!({"property_id": property, "confirm_name": "Property of Billing"}))
            .await;
    world.advance(SECOND);
    let of_all = create(&world, &receiver, json!({})).await;
    let names = |it: &Value| (it["client_name"].clone(), it["property_name"].clone());
    let expected = [
        (json!("Billing"), Value::Null),
        (Value::Null, json!("Property of Billing")),
        (Value::Null, Value::Null),
    ];
    assert_eq!([&of_client, &of_property, &of_all].map(names), expected);
    let listed = owner.get("/webhooks").await.ok()["items"].as_array().unwrap().clone();
    assert_eq!(listed.iter().map(names).collect::<Vec<_>>(), expected);
    assert_eq!(names(&owner.get(&path(&of_client, "")).await.ok()), expected[0]);
    // A token that reads no client learns no name, and keeps the IDs.
    let limited = world.token_of(crate::world::OWNER, &["webhook:manage"]).await;
    let listed = limited.get("/webhooks").await.ok()["items"].as_array().unwrap().clone();
    assert!(listed.iter().all(|it| names(it) == expected[2]), "{listed:?}");
    assert_eq!(listed[0]["client_id"], json!(client.id));
    assert_eq!(names(&limited.get(&path(&of_client, "")).await.ok()), expected[2]);
    let renamed = limited.patch(&path(&of_client, ""), json!({"name": "New"})).await.ok();
    assert_eq!(names(&renamed), expected[2]);
    let browser = world.signed_in().await;
    let page = browser.get("/console/webhooks").await.page(200);
    let link = |kind: &str, id: &str, name: &str| {
        format!("<a href=\"/console/{kind}/{id}\" title=\"{id}\">{name}</a>")
    };
    let (client, property) = (
        link("clients", &client.id, "Billing"),
        link("properties", property.as_str().unwrap(), "Property of Billing"),
    );
    assert!(page.contains(&client) && page.contains(&property), "{page}");
    let page = browser.get(&format!("/console/webhooks/{}", id(&of_property))).await.page(200);
    assert!(page.contains(&property), "{page}");
}

async fn the_form_takes_a_client_by_its_name_and_says_what_is_wrong(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    let owner = world.owner().await;
    // The same name in another property.
    let other = world.client("Ledger", &["production"]).await;
    let property = owner.post("/properties", json!({"name": "Second"})).await.created();
    let second = json!({"name": "Ledger", "property_id": property["id"], "environments": ["production"]});
    let second = owner.post("/clients", second).await.created();
    let browser = world.signed_in().await;
    let url = receiver.url();
    let send = async |typed: &str, confirm: &str| {
        let fields = [
            ("name", "Hook"),
            ("format", "standard"),
            ("url", url.as_str()),
            ("routing_key", ""),
            ("scope", "client"),
            ("client_id", typed),
            ("confirm_name", confirm),
        ];
        browser.post("/console/webhooks", &fields).await
    };
    let page = send("Ledger", "Ledger").await.page(422);
    assert!(page.contains("Client is the name of 2 clients"), "{page}");
    assert!(page.contains(&other.id) && page.contains(second["id"].as_str().unwrap()), "{page}");
    for unknown in ["Nobody", "billing", "Bill", "cl_0000000000000000000000", ""] {
        let page = send(unknown, "Billing").await.page(422);
        assert!(page.contains("Client must be the ID or the unique name of a client"), "{unknown}: {page}");
    }
    assert_eq!(owner.get("/webhooks").await.ok()["items"], json!([]), "nothing was created");
    assert!(send(" Billing ", "Billing").await.page(200).contains("whsec_"));
    world.advance(SECOND);
    assert!(send(&other.id, "Ledger").await.page(200).contains("whsec_"));
    let listed = owner.get("/webhooks").await.ok()["items"].as_array().unwrap().clone();
    let about: Vec<_> = listed.iter().map(|it| it["client_id"].clone()).collect();
    assert_eq!(about, [json!(client.id), json!(other.id)]);
}

async fn the_form_offers_and_takes_only_clients_that_the_person_manages(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    let other = world.client("Ledger", &["production"]).await;
    let third = world.client("Reports", &["staging", "production"]).await;
    // Grace reads all clients, manages one, and another in one environment.
    let grace = world.person("grace@example.com", "viewer").await;
    let owner = world.owner().await;
    let user = owner.get("/users?q=grace@example.com").await.ok()["items"][0]["id"].clone();
    let grants = format!("/users/{}/grants", user.as_str().unwrap());
    let manages = json!({"role": "application_manager", "client_id": client.id});
    owner.post(&grants, manages).await.created();
    let in_staging =
        json!({"role": "application_manager", "client_id": third.id, "environments": ["staging"]});
    owner.post(&grants, in_staging).await.created();
    let offered = grace.get("/console/webhooks").await.page(200);
    let option = |id: &str| format!("<option value=\"{id}\">");
    assert!(offered.contains(&option(&client.id)) && offered.contains(&option(&third.id)), "{offered}");
    assert!(!offered.contains(&other.id) && !offered.contains("Ledger"), "{offered}");
    // What she reads and does not manage is refused like what is not there.
    for typed in ["Ledger", other.id.as_str()] {
        let fields = [
            ("name", "Hook"),
            ("format", "standard"),
            ("url", &*receiver.url()),
            ("scope", "client"),
            ("client_id", typed),
            ("confirm_name", "Ledger"),
        ];
        let page = grace.post("/console/webhooks", &fields).await.page(422);
        assert!(page.contains("Client must be the ID or the unique name of a client"), "{typed}: {page}");
    }
}

async fn an_owner_that_is_a_webhook_has_its_name_for_those_who_manage_it(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    let owner = world.owner().await;
    let own = create(
        &world,
        &receiver,
        json!({"client_id": client.id, "confirm_name": "Billing", "name": "Own <b>"}),
    )
    .await;
    let of_all = create(&world, &receiver, json!({"name": "For all"})).await;
    let body =
        json!({"owners": [id(&own), id(&of_all), "team@example.com"], "confirm_client_name": "Billing"});
    let changed = owner.patch(&format!("/clients/{}", client.id), body).await.ok();
    let details = |shown: &Value| {
        let details = shown["owner_details"].as_array().unwrap().clone();
        details.iter().map(|it| (it["kind"].clone(), it["name"].clone())).collect::<Vec<_>>()
    };
    let webhook = |name: Value| (json!("webhook"), name);
    let all = [webhook(json!("Own <b>")), webhook(json!("For all")), (json!("group"), Value::Null)];
    assert_eq!(details(&changed), all);
    assert_eq!(details(&owner.get("/clients").await.ok()["items"][0]), all);
    // A manager of the client manages its webhook alone, and one of an environment neither.
    let at = format!("/clients/{}", client.id);
    let grace = manager(&world, "grace@example.com", &client.id).await;
    let seen = details(&grace.get(&at).await.ok());
    assert_eq!(seen[..2], [webhook(json!("Own <b>")), webhook(Value::Null)]);
    let eve = manager_in(&world, "eve@example.com", &client.id, &["staging"]).await;
    assert_eq!(details(&eve.get(&at).await.ok())[..2], [webhook(Value::Null), webhook(Value::Null)]);
    let page = world.signed_in().await.get(&format!("/console/clients/{}", client.id)).await.page(200);
    let link = format!("<a href=\"/console/webhooks/{0}\" title=\"{0}\">Own &#60;b&#62;</a>", id(&own));
    assert!(page.contains(&link), "{page}");
    let viewer = world.person("vera@example.com", "viewer").await;
    let page = viewer.get(&format!("/console/clients/{}", client.id)).await.page(200);
    assert!(!page.contains("Own &#60;b&#62;") && page.contains(id(&own)), "{page}");
    // A program gets the IDs alone, and so does a chat, which anyone may read.
    let chat = Receiver::start().await;
    create(&world, &chat, json!({"format": "slack", "name": "Chat"})).await;
    let fewer = json!({"owners": [id(&own), id(&of_all)], "confirm_client_name": "Billing"});
    owner.patch(&format!("/clients/{}", client.id), fewer).await.ok();
    let delivered = sent(&world, &receiver).await;
    let [posted] = chat.take().try_into().unwrap();
    assert!(posted.body.contains(id(&own)) && !posted.body.contains("Own <b>"), "{}", posted.body);
    let told = delivered.iter().find(|it| it.kind() == "client.updated").unwrap();
    assert!(!told.body.contains("webhook_names") && told.body.contains(id(&own)), "{}", told.body);
}
