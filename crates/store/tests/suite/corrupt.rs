//! A row that does not hold what its column promises is named, never guessed at.

use crate::engines::on_both_engines;
use crate::harness::*;
use crossfade_core::{
    SecretId,
    audit::Action,
    environment::SigningAlg,
    roles::{Grant, Role, Scope},
    signing_key::KeyTimes,
};
use crossfade_store::{
    AuditFilter, ChangeKind, ClientFilter, FailureFilter, FailureRow, Link, LinkPurpose, Maker, Notification,
    PageStart, SigningKey, StoreError, TokenRow, Tx, Usage,
};

on_both_engines! {
    a_corrupt_row_is_named_by_table_column_and_row,
    a_secret_without_its_registration_keeps_no_other_from_being_loaded,
}

/// One row at least in each table.
async fn fill(tx: &mut Tx) -> Result<(), StoreError> {
    seed_client(tx).await?;
    let times = KeyTimes { active_from: at(0), removed_at: None };
    let (kid, environment, alg) = ("kid".to_owned(), slug("staging"), SigningAlg::ES256);
    tx.insert_signing_key(&SigningKey { kid, environment, alg, sealed: vec![1], times }, at(0)).await?;
    tx.insert_secret(&secret(1, 1, 1)).await?;
    tx.set_secret_end(&secret_id(1), Some(at(50)), None).await?;
    tx.revoke_tokens_of_secret(&secret_id(1), at(10)).await?;
    tx.insert_secret(&secret(2, 1, 2)).await?;
    tx.insert_rotation(&rotation(1, 1, 1, 1, 2)).await?;
    let usage = Usage { first_used_at: at(1), last_used_at: at(2), use_count: 3 };
    tx.add_uses(&[usage_row(1, usage)], SOURCE_CAPS).await?;
    let source_ip = "192.0.2.1".to_owned();
    let (registration_id, secret_id) = (Some(registration_id(1)), Some(secret_id(1)));
    tx.add_failures(&[FailureRow { registration_id, secret_id, reason: "expired", source_ip, usage }], 9)
        .await?;
    tx.insert_user(&user(1, Some("ada@example.com"))).await?;
    let grant = Grant { role: Role::Owner, scope: Scope::Platform, environments: None };
    tx.insert_grant(&grant_row(1, 1, grant, at(0))).await?;
    let (id, user_id, name) = (token_id(1), user_id(1), "CI".to_owned());
    let (scope, only, created_at, expires_at, last_used_at) = (None, None, at(0), None, None);
    let token = TokenRow { id, user_id, name, scope, only, created_at, expires_at, last_used_at };
    tx.insert_token(&token, &[7]).await?;
    let link =
        Link { purpose: LinkPurpose::SetUp, user_id: None, maker: Maker::default(), expires_at: at(90) };
    tx.insert_link(&link, &[8], at(0)).await?;
    tx.append_audit(&event(Action::OwnerCreated, at(0))).await?;
    let message = Notification {
        id: "message".into(),
        created_at: at(0),
        number: Some(1),
        event: Action::SecretRotated,
        client_id: Some(client_id(1)),
        client_name: None,
        environment: None,
        recipients: vec![],
        actor_name: None,
        actor_kind: None,
        source: None,
        reason: None,
        details: serde_json::json!({}),
    };
    tx.insert_notification(&message).await?;
    tx.append_change(&ChangeKind::Registration(crate::harness::registration_id(1))).await
}

/// Reads all that there is in one way.
async fn read(tx: &mut Tx, what: &str) -> Result<(), StoreError> {
    let staging = slug("staging");
    let registration = registration_id(1);
    match what {
        "properties" => tx.properties(&all()).await.map(drop),
        "property_named" => tx.property_named(&name("Shop")).await.map(drop),
        "environment" => tx.environment(&staging).await.map(drop),
        "signing_keys" => tx.signing_keys(&staging).await.map(drop),
        "clients" => tx.clients(&ClientFilter::default(), &all()).await.map(drop),
        "client_named" => tx.client_named(&property_id(1), &name("Billing")).await.map(drop),
        "registration" => tx.registration(&client_id(1), &staging).await.map(drop),
        "registrations" => tx.registrations(&client_id(1)).await.map(drop),
        "secrets" => tx.secrets(&registration, &all()).await.map(drop),
        "open_secrets" => tx.open_secrets(&registration, at(0)).await.map(drop),
        "revoked" => tx.secrets_with_revoked_tokens().await?.into_iter().try_for_each(|it| it.map(drop)),
        "expired" => tx.expired_secrets(at(99), 9).await.map(drop),
        "rotations" => tx.rotations(&registration, &all()).await.map(drop),
        "verifiers" => tx.verifiers(None, 100).await?.into_iter().try_for_each(|it| whole(it).map(drop)),
        "owner_of_secret" => tx.registration_of_secret(&secret_id(2)).await.map(drop),
        "failures" => {
            let page = PageStart { after: None, limit: 9 };
            tx.authentication_failures(&FailureFilter::default(), &page).await.map(drop)
        }
        "users" => tx.users(None, &PageStart { after: None, limit: 9 }).await.map(drop),
        "grants" => tx.grants(&user_id(1)).await.map(drop),
        "tokens" => tx.tokens(None, &all()).await.map(drop),
        "token_owner" => tx.token_owner(&[7]).await.map(drop),
        "link" => tx.link(&[8], at(1)).await.map(drop),
        "audit" => tx.audit_events(&AuditFilter::default(), None, 9).await.map(drop),
        "notifications" => tx.notifications(None).await.map(drop),
        "changes" => tx.changes(0, 9).await.map(drop),
        other => panic!("nothing reads {other}"),
    }
}

/// What reads it, the table, the column, what is written into it, and the row as it is named then.
type Case = (&'static str, &'static str, &'static str, &'static str, String);

/// The hour of the failures of [`fill`], which names their row.
const HOUR_OF_FAILURES: &str = "498757";

fn cases() -> Vec<Case> {
    let own = |id: &dyn std::fmt::Display| id.to_string();
    let bad = || "'garbage'".to_owned().replace('\'', "");
    let (client, registration) = (own(&client_id(1)), own(&registration_id(1)));
    let user = own(&user_id(1));
    let (rotation, grant, token) = (own(&rotation_id(1)), own(&grant_id(1)), own(&token_id(1)));
    vec![
        ("properties", "properties", "id", "'garbage'", bad()),
        ("property_named", "properties", "id", "'garbage'", bad()),
        ("environment", "environments", "kind", "'garbage'", "staging".into()),
        ("environment", "environments", "issuer_mode", "'both'", "staging".into()),
        ("environment", "environments", "upstream", "'{}', issuer_mode = 'upstream'", "staging".into()),
        ("environment", "environments", "upstream", "NULL, issuer_mode = 'upstream'", "staging".into()),
        ("environment", "environments", "signing_alg", "'es256'", "staging".into()),
        ("signing_keys", "signing_keys", "alg", "'none'", "kid".into()),
        ("clients", "clients", "id", "'garbage'", bad()),
        ("client_named", "clients", "id", "'garbage'", bad()),
        ("clients", "clients", "property_id", "''", client.clone()),
        ("clients", "clients", "owners", "'ada@example.com'", client.clone()),
        ("clients", "clients", "owners", "'[1]'", client),
        ("registration", "registrations", "id", "'garbage'", bad()),
        ("registrations", "registrations", "oauth_client_id", "'ä'", registration.clone()),
        ("registrations", "registrations", "access_token_ttl_seconds", "59", registration.clone()),
        ("registration", "registrations", "access_token_ttl_seconds", "86401", registration.clone()),
        ("registrations", "registrations", "auth_basic", "0, auth_post = 0", registration.clone()),
        ("verifiers", "registrations", "oauth_client_id", "'short'", registration.clone()),
        ("verifiers", "registrations", "access_token_ttl_seconds", "-1", registration.clone()),
        ("verifiers", "registrations", "auth_basic", "0, auth_post = 0", registration),
        ("secrets", "secrets", "id", "'garbage'", bad()),
        ("open_secrets", "secrets", "id", "'garbage'", bad()),
        ("revoked", "secrets", "id", "'garbage'", bad()),
        ("expired", "secrets", "id", "'garbage'", bad()),
        ("rotations", "rotations", "id", "'garbage'", bad()),
        ("rotations", "rotations", "actor_id", "'x', actor_kind = 'user'", rotation.clone()),
        ("rotations", "rotations", "actor_id", "'x', actor_kind = 'robot'", rotation.clone()),
        ("rotations", "rotations", "outgoing_secret_id", "'garbage'", rotation.clone()),
        ("rotations", "rotations", "incoming_secret_id", "'garbage'", rotation.clone()),
        ("rotations", "rotations", "ended_as", "'garbage'", rotation),
        ("failures", "authentication_failures", "secret_id", "'garbage'", HOUR_OF_FAILURES.into()),
        ("users", "users", "kind", "'garbage'", user),
        ("grants", "grants", "role", "'root'", grant.clone()),
        ("grants", "grants", "property_id", "'garbage'", grant.clone()),
        ("grants", "grants", "client_id", "''", grant.clone()),
        ("grants", "grants", "environments", "'staging'", grant),
        ("tokens", "api_tokens", "scope", "'client:read'", token.clone()),
        ("token_owner", "api_tokens", "scope", "'{}'", token),
        ("link", "links", "purpose", "'garbage'", bad()),
        ("audit", "audit_events", "action", "'garbage'", "1".into()),
        ("audit", "audit_events", "outcome", "'garbage'", "1".into()),
        ("audit", "audit_events", "details", "'{'", "1".into()),
        ("audit", "audit_events", "client_id", "'garbage'", "1".into()),
        ("notifications", "notifications", "event", "'garbage'", "message".into()),
        ("notifications", "notifications", "recipients", "'{}'", "message".into()),
        ("notifications", "notifications", "details", "''", "message".into()),
        ("changes", "change_log", "kind", "'garbage'", "1".into()),
    ]
}

async fn a_corrupt_row_is_named_by_table_column_and_row(t: TestDb) {
    t.write(fill).await;
    t.place.unlink().await;
    let wrong = std::cell::RefCell::new(Vec::new());
    for (what, table, column, value, row) in cases() {
        let filled = t.try_read(async |tx| read(tx, what).await).await;
        assert!(filled.is_ok(), "{what} before it is corrupt: {filled:?}");
        // Inside a transaction that is rolled back there would be no reading it with the store.
        t.place.raw(&format!("CREATE TABLE kept AS SELECT * FROM {table}")).await;
        t.place.raw(&format!("UPDATE {table} SET {column} = {value} WHERE {}", one_row(table))).await;
        let error = t.try_read(async |tx| read(tx, what).await).await;
        t.place
            .raw(&format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept; DROP TABLE kept"))
            .await;
        let expected = format!("corrupt row in {table}, column {column}, row {row}");
        let got = error.map_err(|error| match error {
            StoreError::Corrupt { .. } => error.to_string(),
            other => format!("{other:?}"),
        });
        if got != Err(expected.clone()) {
            wrong.borrow_mut().push(format!("{what}: {got:?} instead of {expected}"));
        }
    }
    let wrong = wrong.into_inner();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The row of a table that `fill` meant.
fn one_row(table: &str) -> String {
    match table {
        "environments" => "slug = 'staging'".into(),
        "registrations" => format!("id = '{}'", registration_id(1)),
        "secrets" => format!("id = '{}'", secret_id(1)),
        _ => "1 = 1".into(),
    }
}

async fn a_secret_without_its_registration_keeps_no_other_from_being_loaded(t: TestDb) {
    t.write(fill).await;
    t.place.unlink().await;
    // Between two registrations that are there, so that the page's range holds it.
    t.place
        .raw(&format!(
            "UPDATE secrets SET registration_id = '{}x' WHERE id = '{}'",
            registration_id(1),
            secret_id(1)
        ))
        .await;
    let read = t.read(async |tx| tx.verifiers(None, 100).await).await;
    let secrets: Vec<SecretId> =
        read.into_iter().flat_map(|it| whole(it).unwrap().secrets).map(|it| it.rule.id).collect();
    assert_eq!(secrets, [secret_id(2)]);
    let orphan: Result<Option<SecretId>, _> = t
        .try_read(async |tx| Ok(tx.registration_of_secret(&secret_id(1)).await?.map(|_| secret_id(1))))
        .await;
    assert!(matches!(orphan, Err(StoreError::Corrupt { .. })), "{orphan:?}");
}
