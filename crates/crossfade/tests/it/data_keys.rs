//! Data keys: new ones beside a running server, digests that move to them by use, and old ones that are deleted.

use crate::engines::on_both_engines;
use crate::start::{Data, Running};
use crate::world::{Client, World};
use crossfade_app::{DataKeyLine, DataKeyPurpose, Error, list_keys, list_secrets_of_old_keys};
use crossfade_core::Code;
use serde_json::{Value, json};

on_both_engines! {
    digests_move_to_the_newest_key_when_their_secrets_are_used,
    an_old_key_is_deleted_once_it_holds_no_valid_secret,
    the_secrets_that_keep_an_old_key_are_listed,
    values_are_sealed_under_the_newest_key,
    so_many_verifier_keys_are_refused,
    a_server_takes_new_keys_only_with_its_master_key,
}

pub async fn create(world: &World) -> Result<Vec<DataKeyLine>, Error> {
    let beside = world.open_beside().await?;
    let created = beside.create_data_keys(&world.master_key_file().into()).await;
    beside.close().await;
    created
}

pub async fn delete(world: &World, id: &str) -> Result<DataKeyLine, Error> {
    let beside = world.open_beside().await?;
    let deleted = beside.delete_data_key(id).await;
    beside.close().await;
    deleted
}

/// The keys of this purpose, oldest first.
pub async fn keys(world: &World, purpose: DataKeyPurpose) -> Vec<DataKeyLine> {
    let all =
        list_keys(world.location(), &world.master_key_file().into(), world.journal.as_deref(), world.now())
            .await
            .unwrap();
    all.data_keys.into_iter().filter(|key| key.purpose == purpose).collect()
}

/// Numbers of valid and of ended secrets under each verifier key.
async fn digests(world: &World) -> Vec<(u64, u64)> {
    keys(world, DataKeyPurpose::Verify).await.iter().map(|key| (key.holds, key.ended)).collect()
}

async fn works(world: &World, client: &Client, secret: &str) {
    let own = client.registration("production");
    world.oauth("production").token(&own.client_id, secret).await.is_token();
}

fn first(client: &Client) -> &str {
    &client.registration("production").secret
}

async fn rotate(world: &World, client: &Client, hours: u32) -> String {
    let path = client.path("production", "/secrets/rotate");
    let rotated = world.owner().await.post(&path, client.rotation(hours)).await.created();
    rotated["secret"]["value"].as_str().unwrap().to_owned()
}

async fn digests_move_to_the_newest_key_when_their_secrets_are_used(mut world: World) {
    let billing = world.client("Billing", &["production"]).await;
    let shipping = world.client("Shipping", &["production"]).await;
    create(&world).await.unwrap();
    assert_eq!(digests(&world).await, [(2, 0), (0, 0)]);
    // The server does not know the new keys yet.
    works(&world, &billing, first(&billing)).await;
    world.run_jobs().await;
    assert_eq!(digests(&world).await, [(2, 0), (0, 0)]);
    for _ in 0..2 {
        works(&world, &billing, first(&billing)).await;
        works(&world, &shipping, first(&shipping)).await;
        world
            .oauth("production")
            .token(&billing.registration("production").client_id, "wrong")
            .await
            .is_invalid_client();
    }
    let secret = rotate(&world, &shipping, 24).await;
    assert_eq!(digests(&world).await, [(2, 0), (1, 0)], "a request moves nothing itself");
    world.run_jobs().await;
    assert_eq!(digests(&world).await, [(0, 0), (3, 0)]);
    for _ in 0..2 {
        works(&world, &billing, first(&billing)).await;
        works(&world, &shipping, first(&shipping)).await;
        works(&world, &shipping, &secret).await;
        world.restart().await;
    }
    let trail = world.owner().await.get("/audit-events?action=data_keys.created").await.ok();
    let newest = keys(&world, DataKeyPurpose::Verify).await.pop().unwrap().id;
    assert_eq!(trail["items"][0]["details"]["verifier_key_id"], *newest);
    assert_eq!(trail["items"][0]["actor"]["id"], "keys create");
}

async fn an_old_key_is_deleted_once_it_holds_no_valid_secret(mut world: World) {
    let billing = world.client("Billing", &["production"]).await;
    let shipping = world.client("Shipping", &["production"]).await;
    let second = rotate(&world, &billing, 0).await;
    let old = keys(&world, DataKeyPurpose::Verify).await.pop().unwrap().id;
    let refused = async |world: &World, id: &str, says: &str| {
        let problem = delete(world, id).await.unwrap_err().problem;
        assert!(problem.detail.contains(says), "{}", problem.detail);
    };
    refused(&world, &old, "is the newest of its purpose").await;
    refused(&world, "0000000000000000", "no data key with this ID").await;
    create(&world).await.unwrap();
    world.run_jobs().await;
    refused(&world, &old, "still holds 2 digests").await;
    works(&world, &billing, &second).await;
    world.run_jobs().await;
    refused(&world, &old, "still holds 1 digest.").await;
    works(&world, &shipping, first(&shipping)).await;
    world.run_jobs().await;
    assert_eq!(digests(&world).await, [(0, 1), (2, 0)]);
    assert_eq!(delete(&world, &old).await.unwrap().ended, 1);
    let owner = world.owner().await;
    let token = owner.token.clone().unwrap();
    for is_restarted in [false, true] {
        works(&world, &billing, &second).await;
        works(&world, &shipping, first(&shipping)).await;
        let ended = billing.registration("production");
        world.oauth("production").token(&ended.client_id, &ended.secret).await.is_invalid_client();
        if !is_restarted {
            world.run_jobs().await;
            world.restart().await;
        }
    }
    // The root of the digests of API tokens and sessions was the key that is deleted now.
    let same = crate::world::Principal { world: &world, token: Some(token) };
    let trail = same.get("/audit-events?action=data_key.deleted").await.ok();
    assert_eq!(trail["items"][0]["details"], json!({"key_id": old, "ended_digests": 1}));
    world.signed_in().await;
}

async fn the_secrets_that_keep_an_old_key_are_listed(world: World) {
    let billing = world.client("Billing", &["production"]).await;
    let shipping = world.client("Shipping", &["production"]).await;
    rotate(&world, &billing, 0).await;
    let second = rotate(&world, &billing, 0).await;
    let listed = async || list_secrets_of_old_keys(world.location(), world.now()).await.unwrap();
    assert_eq!(listed().await, [], "there is no newer key");
    let old = keys(&world, DataKeyPurpose::Verify).await.pop().unwrap().id;
    create(&world).await.unwrap();
    world.run_jobs().await;
    let found = listed().await;
    let named: Vec<&str> = found.iter().map(|it| it.client.as_str()).collect();
    assert_eq!(named, ["Billing", "Shipping"], "ended ones are not listed");
    let own = shipping.registration("production");
    let last = &found[1];
    assert_eq!((&last.secret_id, &last.oauth_client_id), (&own.secret_id, &own.client_id));
    assert_eq!((last.client_id.as_str(), last.environment.as_str()), (shipping.id.as_str(), "production"));
    assert_eq!((&last.key_id, last.expires_at), (&old, None));
    works(&world, &billing, &second).await;
    world.run_jobs().await;
    let found = listed().await;
    assert_eq!(found.iter().map(|it| it.client.as_str()).collect::<Vec<_>>(), ["Shipping"]);
}

async fn values_are_sealed_under_the_newest_key(mut world: World) {
    let client = world.client("Billing", &["production"]).await;
    let holds = async |world: &World| {
        keys(world, DataKeyPurpose::Seal).await.iter().map(|key| key.holds).collect::<Vec<_>>()
    };
    create(&world).await.unwrap();
    world.run_jobs().await;
    let before = holds(&world).await;
    let path = client.path("production", "/secrets/rotate");
    let rotated = world.owner().await.post(&path, client.rotation(24)).await.created();
    assert_eq!(holds(&world).await, [before[0], before[1] + 1]);
    world.restart().await;
    let first = client.registration("production");
    let second = (rotated["secret"]["id"].as_str().unwrap(), rotated["secret"]["value"].as_str().unwrap());
    for (secret, value) in [(first.secret_id.as_str(), first.secret.as_str()), second] {
        let path = client.path("production", &format!("/secrets/{secret}/reveal"));
        let revealed = world.owner().await.post(&path, json!({"reason": "test"})).await.ok();
        assert_eq!(revealed["value"], *value);
    }
}

async fn so_many_verifier_keys_are_refused(world: World) {
    for _ in 0..3 {
        create(&world).await.unwrap();
    }
    let problem = create(&world).await.unwrap_err().problem;
    assert!(
        problem.code == Code::InUse && problem.detail.contains("already 4 verifier keys"),
        "{}",
        problem.detail
    );
}

async fn a_server_takes_new_keys_only_with_its_master_key(world: World) {
    let client = world.client("Billing", &["production"]).await;
    create(&world).await.unwrap();
    let (file, away) = (world.master_key_file(), world.master_key_file().with_extension("away"));
    std::fs::rename(file, &away).unwrap();
    assert!(world.try_jobs().await.unwrap_err().problem.detail.contains("is missing"));
    works(&world, &client, first(&client)).await;
    rotate(&world, &client, 24).await;
    assert!(keys_hold_without_master(&world).await, "new digests use the key that is known");
    std::fs::rename(&away, file).unwrap();
    world.run_jobs().await;
    works(&world, &client, first(&client)).await;
    world.run_jobs().await;
    assert_eq!(digests(&world).await, [(1, 0), (1, 0)]);
}

async fn keys_hold_without_master(world: &World) -> bool {
    world.number("SELECT COUNT(DISTINCT digest_key) FROM secrets").await == 1
}

#[test]
fn the_commands_for_data_keys_say_what_they_did() {
    let data = Data::new();
    let run = |arguments: &[&str]| {
        let mut all = vec!["keys"];
        all.extend(arguments);
        all.extend(["--data-dir", data.path(), "--json"]);
        let (status, out, err) = Running::start(&all).end();
        (status, serde_json::from_str::<Value>(&out).unwrap_or_default(), err)
    };
    let (status, before, _) = run(&["list"]);
    let states = |keys: &Value| {
        let keys = keys["data_keys"].as_array().unwrap().clone();
        keys.iter().map(|key| format!("{} {}", key["purpose"], key["state"])).collect::<Vec<_>>()
    };
    assert_eq!((status, states(&before).len()), (0, 2));
    let (status, created, err) = run(&["create"]);
    assert!(status == 0 && err.matches("Created data key ").count() == 2, "{err}");
    assert_eq!(states(&created).iter().filter(|it| it.ends_with("\"old\"")).count(), 2);
    let old = created["data_keys"][0]["id"].as_str().unwrap();
    let (status, _, err) = run(&["delete", old]);
    assert!(status == 5 && err.contains("Nothing was changed."), "{status} {err}");
    let (_, listed, _) = run(&["list"]);
    assert_eq!(listed["data_keys"], created["data_keys"]);
    assert_eq!(listed["master_keys"][0]["seals"], 6, "four data keys, their root, and the instance");
}
