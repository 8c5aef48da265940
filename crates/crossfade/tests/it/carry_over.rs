//! Digests and seals: what an older version stored is carried over, and what somebody writes into the database counts for
//! nothing. The formats are made here by other code than the product's.

use crate::engines::on_both_engines;
use crate::world::{Client, Principal, World};
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest::{SHA256, digest},
    hmac::{HMAC_SHA256, Key, sign},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use crossfade_authority::SystemRandom;
use crossfade_core::secret::{SecretKind, SecretValue};
use crossfade_store::{Db, Location, StoreError};
use serde_json::{Value, json};
use std::collections::BTreeMap;

on_both_engines! {
    an_older_database_is_carried_over_and_nothing_is_lost,
    a_carry_over_that_was_killed_goes_on,
    a_start_that_fails_during_a_carry_over_loses_nothing,
    a_digest_that_was_inserted_into_the_database_is_no_credential,
    a_session_or_link_that_was_inserted_into_the_database_opens_nothing,
    data_keys_of_before_an_upgrade_are_refused_beside_newer_rows,
    a_sealed_value_that_was_moved_to_another_registration_is_not_revealed,
}

fn hmac(key: &[u8], data: &[u8]) -> Vec<u8> {
    sign(&Key::new(HMAC_SHA256, key), data).as_ref().to_vec()
}

fn sha256(data: &[u8]) -> Vec<u8> {
    digest(&SHA256, data).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What version 2 binds: each part behind its length.
fn place(parts: &[&str]) -> Vec<u8> {
    parts.iter().flat_map(|part| [&(part.len() as u64).to_be_bytes()[..], part.as_bytes()].concat()).collect()
}

fn key(bytes: &[u8]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes).unwrap())
}

fn open(key: &LessSafeKey, sealed: &[u8], place: &[u8]) -> Vec<u8> {
    let (head, rest) = sealed.split_at(9);
    assert_eq!(head[0], 2, "a new seal");
    let (nonce, body) = rest.split_at(NONCE_LEN);
    let (nonce, mut body) = (Nonce::try_assume_unique_for_key(nonce).unwrap(), body.to_vec());
    key.open_in_place(nonce, Aad::from([head, place].concat()), &mut body).unwrap().to_vec()
}

fn seal(version: u8, key: &LessSafeKey, id: &[u8], plain: &[u8], place: &[u8]) -> Vec<u8> {
    let head = [&[version], id].concat();
    let (nonce, mut body) = ([version; NONCE_LEN], plain.to_vec());
    let aad = Aad::from([&head, place].concat());
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut body).unwrap();
    [head, nonce.to_vec(), body].concat()
}

/// The keys of an instance, and how its engine writes bytes.
struct Keys {
    master: LessSafeKey,
    master_id: Vec<u8>,
    /// Data keys by purpose: id and bytes.
    data: BTreeMap<String, (String, Vec<u8>)>,
    is_sqlite: bool,
}

impl Keys {
    async fn of(world: &World) -> Self {
        let text = std::fs::read_to_string(world.master_key_file()).unwrap();
        let bytes = STANDARD.decode(text.trim().rsplit(':').next().unwrap()).unwrap();
        let (master, master_id) = (key(&bytes), sha256(&bytes)[..8].to_vec());
        let db = Db::open_read_only(world.location()).await.unwrap();
        let stored = db.read::<_, StoreError>(async |tx| tx.data_keys().await).await.unwrap();
        db.close().await;
        let data = stored
            .into_iter()
            .map(|it| {
                let plain = open(&master, &it.sealed, &place(&["data_keys", &it.purpose, &it.id]));
                (it.purpose, (it.id, plain))
            })
            .collect();
        Self { master, master_id, data, is_sqlite: matches!(world.location(), Location::File(_)) }
    }

    fn bytes(&self, bytes: &[u8]) -> String {
        let hex = hex(bytes);
        if self.is_sqlite { format!("X'{hex}'") } else { format!("'\\x{hex}'") }
    }

    /// The keyed digest of a credential, as the product stores it.
    fn keyed(&self, label: &str, value: &str) -> Vec<u8> {
        let (_, root) = &self.data["verify"];
        hmac(&hmac(root, format!("crossfade: digests of {label}").as_bytes()), &sha256(value.as_bytes()))
    }

    /// SQL that puts the data keys back to what an older version wrote.
    fn old_data_keys(&self) -> Vec<String> {
        let old = |purpose: &String, (id, plain): &(String, Vec<u8>)| {
            let place = format!("data_keys/{purpose}/{id}");
            let sealed = seal(1, &self.master, &self.master_id, plain, place.as_bytes());
            format!("UPDATE data_keys SET sealed = {} WHERE id = '{id}'", self.bytes(&sealed))
        };
        self.data.iter().map(|(purpose, key)| old(purpose, key)).collect()
    }

    /// SQL that notes a carry-over that has begun.
    fn begun(&self) -> String {
        let id = "00000000000000aa";
        let sealed =
            seal(2, &self.master, &self.master_id, &[7; 32], &place(&["data_keys", "carry_over", id]));
        format!(
            "INSERT INTO data_keys (id, purpose, sealed, created_at) VALUES ('{id}', 'carry_over', {}, 1)",
            self.bytes(&sealed)
        )
    }

    /// SQL that puts the sealed values back; only every second one where the carry-over was killed in between.
    async fn old_values(&self, world: &World, every: usize) -> Vec<String> {
        let (id, plain) = &self.data["seal"];
        let (data, id) = (key(plain), u64::from_str_radix(id, 16).unwrap().to_be_bytes());
        let db = Db::open_read_only(world.location()).await.unwrap();
        let mut rows = Vec::new();
        db.read::<_, StoreError>(async |tx| {
            tx.each_sealed_secret::<StoreError>(|it| {
                let (reg, sec) = (it.registration_id.as_str(), it.id.as_str());
                rows.push((
                    format!("UPDATE secrets SET sealed = {{}} WHERE id = '{sec}'"),
                    open(&data, &it.sealed, &place(&["secrets", reg, sec])),
                    format!("secrets/{sec}"),
                ));
                Ok(())
            })
            .await?;
            tx.each_sealed_answer::<StoreError>(|it| {
                rows.push((
                    format!("UPDATE idempotency SET sealed = {{}} WHERE key = '{}'", it.key),
                    open(&data, &it.sealed, &place(&["idempotency", &it.actor, &it.key])),
                    format!("idempotency/{}/{}", it.actor, hex(&sha256(it.key.as_bytes()))),
                ));
                Ok(())
            })
            .await?;
            for it in tx.sealed_signing_keys().await? {
                let (slug, kid) = (it.environment.as_str(), it.kid.as_str());
                rows.push((
                    format!("UPDATE signing_keys SET sealed = {{}} WHERE kid = '{kid}'"),
                    open(&data, &it.sealed, &place(&["signing_keys", slug, kid])),
                    format!("signing_keys/{slug}"),
                ));
            }
            Ok(())
        })
        .await
        .unwrap();
        db.close().await;
        let old = |(sql, plain, place): &(String, Vec<u8>, String)| {
            sql.replace("{}", &self.bytes(&seal(1, &data, &id, plain, place.as_bytes())))
        };
        rows.iter().step_by(every).map(old).collect()
    }
}

/// An instance with one of everything that is sealed or found by a digest.
pub struct Lived {
    client: Client,
    token: String,
    cookie: String,
    link: String,
    /// Secrets of the registration in production, oldest first: id and value.
    secrets: Vec<(String, String)>,
    rotation: Value,
    access_token: String,
}

const AGAIN: (&str, &str) = ("Idempotency-Key", "once");

pub async fn live(world: &World) -> Lived {
    let client = world.client("Billing", &["staging", "production"]).await;
    let first = client.registration("production").clone();
    let access_token = world.oauth("production").token(&first.client_id, &first.secret).await.is_token();
    let owner = world.owner().await;
    let body = Some(client.rotation(24).to_string());
    let path = client.path("production", "/secrets/rotate");
    let rotation = owner.call(http::Method::POST, &path, body, &[AGAIN]).await.created();
    let new = &rotation["secret"];
    let second = (new["id"].as_str().unwrap().to_owned(), new["value"].as_str().unwrap().to_owned());
    let person = json!({"email": "ada@example.com", "name": "Ada"});
    let link =
        owner.post("/users", person).await.created()["activation_link"]["url"].as_str().unwrap().to_owned();
    Lived {
        token: owner.token.clone().unwrap(),
        cookie: world.signed_in().await.cookie().unwrap(),
        link: link.rsplit('#').next().unwrap().to_owned(),
        secrets: vec![(first.secret_id, first.secret), second],
        client,
        rotation,
        access_token,
    }
}

impl Lived {
    /// SQL that puts the digests back to what an older version wrote.
    fn old_digests(&self, keys: &Keys, every: usize) -> Vec<String> {
        let old = |(table, label, value): (&str, &str, &str)| {
            let (old, new) = (keys.bytes(&sha256(value.as_bytes())), keys.bytes(&keys.keyed(label, value)));
            format!("UPDATE {table} SET digest = {old}, keyed = 0 WHERE digest = {new}")
        };
        let credentials = [
            ("api_tokens", "API tokens", self.token.as_str()),
            ("sessions", "sessions", &self.cookie),
            ("links", "one-time links", &self.link),
        ];
        // Tokens that a test made on the way are of no use after it, but must not look newer than they are.
        let all = credentials.into_iter().filter(|_| every == 1);
        let all = all.map(|(table, ..)| format!("UPDATE {table} SET keyed = 0"));
        all.chain(credentials.into_iter().step_by(every).map(old)).collect()
    }

    /// Every stored value is revealed as it was.
    pub async fn are_revealed(&self, world: &World) {
        let principal = Principal { world, token: Some(self.token.clone()) };
        for (id, value) in &self.secrets {
            let path = self.client.path("production", &format!("/secrets/{id}/reveal"));
            assert_eq!(principal.post(&path, json!({"reason": "test"})).await.ok()["value"], **value);
        }
    }

    /// Everything that worked works, and only in the new format.
    pub async fn works_on(&self, world: &World) {
        let principal = Principal { world, token: Some(self.token.clone()) };
        self.are_revealed(world).await;
        let body = Some(self.client.rotation(24).to_string());
        let path = self.client.path("production", "/secrets/rotate");
        let again = principal.call(http::Method::POST, &path, body, &[AGAIN]).await.created();
        // Since when it is in force is said anew.
        for member in ["rotated", "rotation", "secret", "previous_secret"] {
            assert_eq!(again[member], self.rotation[member], "{member}");
        }
        let production = self.client.registration("production");
        let told = world
            .oauth("production")
            .introspect(&production.client_id, &self.secrets[1].1, &self.access_token)
            .await;
        assert_eq!(told["active"], true);
        world.oauth("production").token(&production.client_id, &self.secrets[1].1).await.is_token();
        let browser = world.browser();
        browser.jar().insert(browser.name_of("session"), self.cookie.clone());
        assert!(browser.is_signed_in().await);
        assert!(world.app.read_link(&self.link, None).await.is_ok());
        for table in ["api_tokens", "sessions", "links"] {
            assert_eq!(
                world.number(&format!("SELECT COUNT(*) FROM {table} WHERE keyed = 0")).await,
                0,
                "{table}"
            );
        }
        let keys = Keys::of(world).await;
        assert_eq!(keys.data.keys().collect::<Vec<_>>(), ["seal", "verify"]);
        // Fails where anything is sealed in another way.
        assert!(!keys.old_values(world, 1).await.is_empty());
    }
}

async fn raw_all(world: &World, statements: Vec<String>) {
    for sql in statements {
        world.raw(&sql).await;
    }
}

/// A row of an API token of the Owner, as somebody who can write to the database makes it.
fn planted(keys: &Keys, number: u8, digest: &[u8], keyed: u8) -> String {
    format!(
        "INSERT INTO api_tokens (id, user_id, name, digest, created_at, keyed)
         SELECT 'tok_{number:022}', user_id, 'planted', {}, 1, {keyed} FROM grants WHERE role = 'owner'",
        keys.bytes(digest)
    )
}

/// A value of the right form that nobody was given.
fn planted_value(kind: SecretKind) -> String {
    SecretValue::generate(kind, &SystemRandom).reveal().to_owned()
}

async fn an_older_database_is_carried_over_and_nothing_is_lost(mut world: World) {
    let lived = live(&world).await;
    lived.works_on(&world).await;
    let keys = Keys::of(&world).await;
    raw_all(&world, keys.old_values(&world, 1).await).await;
    raw_all(&world, lived.old_digests(&keys, 1)).await;
    raw_all(&world, keys.old_data_keys()).await;
    world.restart().await;
    lived.works_on(&world).await;
    world.restart().await;
    lived.works_on(&world).await;
}

async fn a_carry_over_that_was_killed_goes_on(mut world: World) {
    let lived = live(&world).await;
    let keys = Keys::of(&world).await;
    raw_all(&world, keys.old_values(&world, 2).await).await;
    raw_all(&world, lived.old_digests(&keys, 2)).await;
    raw_all(&world, keys.old_data_keys()).await;
    world.raw(&keys.begun()).await;
    world.restart().await;
    lived.works_on(&world).await;
}

async fn a_start_that_fails_during_a_carry_over_loses_nothing(mut world: World) {
    let lived = live(&world).await;
    let keys = Keys::of(&world).await;
    raw_all(&world, keys.old_values(&world, 1).await).await;
    raw_all(&world, lived.old_digests(&keys, 1)).await;
    raw_all(&world, keys.old_data_keys()).await;
    // The last transaction fails behind the first ones, and behind the signing keys of its own.
    world.raw("ALTER TABLE idempotency RENAME TO elsewhere").await;
    world.try_restart().await.unwrap_err();
    assert_eq!(world.number("SELECT COUNT(*) FROM api_tokens WHERE keyed = 0").await, 0, "it got so far");
    assert_eq!(world.number("SELECT COUNT(*) FROM data_keys WHERE purpose = 'carry_over'").await, 1);
    world.raw("ALTER TABLE elsewhere RENAME TO idempotency").await;
    // PostgreSQL takes a moment to notice that the session with the lock is gone.
    for _ in 0..200 {
        if world.try_restart().await.is_ok() {
            break;
        }
    }
    lived.works_on(&world).await;
}

async fn a_digest_that_was_inserted_into_the_database_is_no_credential(mut world: World) {
    world.owner().await;
    let keys = Keys::of(&world).await;
    let value = planted_value(SecretKind::ApiToken);
    let plain = sha256(value.as_bytes());
    world.raw(&planted(&keys, 1, &plain, 0)).await;
    world.raw(&planted(&keys, 2, &keys.keyed("sessions", &value), 1)).await;
    for _ in 0..2 {
        let principal = Principal { world: &world, token: Some(value.clone()) };
        principal.get("/me").await.refused(401, "unauthenticated");
        world.restart().await;
    }
    world.raw(&planted(&keys, 3, &keys.keyed("API tokens", &value), 1)).await;
    Principal { world: &world, token: Some(value) }.get("/me").await.ok();
}

async fn a_session_or_link_that_was_inserted_into_the_database_opens_nothing(mut world: World) {
    world.owner().await;
    let keys = Keys::of(&world).await;
    let (cookie, link) = (planted_value(SecretKind::Session), planted_value(SecretKind::Link));
    let (at, until) = (world.now().as_micros(), world.now().as_micros() + 3_600_000_000);
    for keyed in [0, 1] {
        let link_value = link.clone();
        let (session, link) = (sha256(cookie.as_bytes()), sha256(link.as_bytes()));
        let (session, link) = match keyed {
            0 => (session, link),
            _ => (keys.keyed("API tokens", &cookie), keys.keyed("sessions", &link_value)),
        };
        world.raw(&format!(
                "INSERT INTO sessions (id, user_id, digest, created_at, authenticated_at, last_seen_at, source_ip, user_agent, keyed)
                 SELECT 'ses_{keyed:022}', user_id, {}, {at}, {at}, {at}, '', '', {keyed} FROM grants WHERE role = 'owner'",
                keys.bytes(&session)
            )).await;
        world
            .raw(&format!(
                "INSERT INTO links (digest, purpose, user_id, created_at, expires_at, keyed)
                 SELECT {}, 'password', user_id, {at}, {until}, {keyed} FROM grants WHERE role = 'owner'",
                keys.bytes(&link)
            ))
            .await;
    }
    for _ in 0..2 {
        let browser = world.browser();
        browser.jar().insert(browser.name_of("session"), cookie.clone());
        assert!(!browser.is_signed_in().await);
        assert!(world.app.read_link(&link, None).await.is_err());
        world.restart().await;
    }
    let right = keys.bytes(&keys.keyed("sessions", &cookie));
    world.raw(&format!("UPDATE sessions SET digest = {right} WHERE keyed = 1")).await;
    let browser = world.browser();
    browser.jar().insert(browser.name_of("session"), cookie);
    assert!(browser.is_signed_in().await, "the row itself is right");
}

async fn data_keys_of_before_an_upgrade_are_refused_beside_newer_rows(mut world: World) {
    let lived = live(&world).await;
    let keys = Keys::of(&world).await;
    raw_all(&world, keys.old_data_keys()).await;
    world.raw(&planted(&keys, 1, &sha256(planted_value(SecretKind::ApiToken).as_bytes()), 0)).await;
    let refused = world.try_restart().await.unwrap_err();
    assert!(refused.problem.detail.contains("are from before an upgrade"), "{refused:?}");
    assert_eq!(
        world.number("SELECT COUNT(*) FROM api_tokens WHERE keyed = 0").await,
        1,
        "nothing was changed"
    );
    drop(lived);
    world.ends_unable_to_run_jobs();
}

async fn a_sealed_value_that_was_moved_to_another_registration_is_not_revealed(world: World) {
    let (mine, other) =
        (world.client("Mine", &["production"]).await, world.client("Other", &["production"]).await);
    let owner = world.owner().await;
    let theirs = other.registration("production").clone();
    let reveal = mine.path("production", &format!("/secrets/{}/reveal", theirs.secret_id));
    let reason = json!({"reason": "test"});
    owner.post(&reveal, reason.clone()).await.refused(404, "not_found");
    let (at, own) = (world.now().as_micros(), &mine.registration("production").client_id);
    world.raw(&format!(
            "UPDATE secrets SET number = 99, revoked_at = {at}, registration_id = (SELECT id FROM registrations WHERE oauth_client_id = '{own}')
             WHERE id = '{}'", theirs.secret_id)).await;
    let answer = owner.post(&reveal, reason).await;
    assert!(!String::from_utf8(answer.bytes.clone()).unwrap().contains(&theirs.secret));
    let problem = answer.refused(500, "internal");
    let members: Vec<_> = problem.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["code", "detail", "status", "title", "type"]);
    let says = "The server encountered an internal error. Nothing was changed. See the server log.";
    assert_eq!(problem["detail"], says, "and not why");
}
