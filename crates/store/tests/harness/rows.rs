//! Rows to fill a database with. Everything is numbered, so that a test can say what belongs to what.

use super::TestDb;
use crossfade_core::{
    ClientId, GrantId, OauthClientId, PropertyId, RegistrationId, RotationId, SecretId, Timestamp, TokenId,
    TransitionHours, UserId,
    api::UserKind,
    audit::{Action, Actor, Origin},
    environment::{EnvironmentKind, SigningAlg, Slug},
    registration::{AuthMethods, Scopes, TokenTtl},
    roles::Grant,
    secret::SecretOrigin,
    text::Name,
    upstream::UnregisteredClients,
};
use crossfade_store::{
    Client, Environment, GrantRow, NewAuditEvent, PageStart, Registration, Rotation, SecretRow, SourceCaps,
    StoreError, Tx, Usage, UsageRow, UsageSource, User,
};
use std::time::Duration;

pub const MICRO: Duration = Duration::from_micros(1);
pub const HOUR: Duration = Duration::from_secs(3600);
pub const DAY: Duration = Duration::from_secs(86_400);

/// `seconds` after the time at which the tests begin.
pub fn at(seconds: u32) -> Timestamp {
    Timestamp::from_seconds(1_795_525_500 + i64::from(seconds))
}

macro_rules! numbered {
    ($($function:ident $type:ident;)+) => { $(
        pub fn $function(n: usize) -> $type {
            $type::parse(&format!("{}{n:022}", $type::PREFIX)).unwrap()
        }
    )+ };
}

numbered! {
    property_id PropertyId;
    client_id ClientId;
    registration_id RegistrationId;
    secret_id SecretId;
    rotation_id RotationId;
    user_id UserId;
    grant_id GrantId;
    token_id TokenId;
}

pub fn oauth_id(n: usize) -> OauthClientId {
    OauthClientId::parse(&format!("{n:022}")).unwrap()
}

pub fn slug(text: &str) -> Slug {
    Slug::parse("slug", text).unwrap()
}

pub fn name(text: &str) -> Name {
    Name::parse("name", text).unwrap()
}

/// The first page.
pub fn first(limit: i64) -> PageStart {
    PageStart { after: None, limit }
}

/// The page behind a row, by its sort key.
pub fn after(key: i64, id: &str, limit: i64) -> PageStart {
    PageStart { after: Some((key, id.to_owned())), limit }
}

/// Everything.
pub fn all() -> PageStart {
    first(1000)
}

pub fn environment(text: &str, position: i64) -> Environment {
    Environment {
        slug: slug(text),
        name: text.to_uppercase(),
        kind: if text == "production" { EnvironmentKind::Live } else { EnvironmentKind::Test },
        position,
        signing_alg: SigningAlg::ES256,
        show_once: false,
        wipe_after_days: 30,
        max_age_days: Some(90),
        guard_extension_hours: None,
        signing_key_rotation_days: None,
        upstream: None,
        unregistered_clients: UnregisteredClients::Refuse,
        adopt_until: None,
        created_at: at(0),
        version: 1,
    }
}

pub fn client(n: usize, text: &str) -> Client {
    Client {
        id: client_id(n),
        property_id: property_id(1),
        name: name(text),
        description: format!("what {text} is"),
        owners: vec!["ada@example.com".into(), "o'brien@example.com".into()],
        created_at: at(n as u32),
        version: 1,
    }
}

pub fn registration(n: usize, client: usize, environment: &str) -> Registration {
    Registration {
        id: registration_id(n),
        client_id: client_id(client),
        environment: slug(environment),
        oauth_client_id: oauth_id(n),
        methods: AuthMethods::default(),
        scopes: Scopes::from_stored("read write".into()),
        audience: None,
        ttl: TokenTtl::default(),
        may_introspect: false,
        allowed_networks: None,
        self_rotation: false,
        created_at: at(n as u32),
        disabled_at: None,
        enabled_at: None,
        earlier_tokens_end_at: None,
        token_generation: 0,
        version: 1,
        current_since: None,
        is_public: None,
    }
}

/// A current secret with a stored value.
pub fn secret(n: usize, registration: usize, number: i64) -> SecretRow {
    SecretRow {
        id: secret_id(n),
        registration_id: registration_id(registration),
        number,
        created_at: at(n as u32),
        digest: vec![n as u8; 32],
        value_digest: vec![n as u8 ^ 0xff; 32],
        digest_key: format!("key-{n}"),
        sealed: Some(vec![0, 255, n as u8]),
        origin: SecretOrigin::Generated,
    }
}

pub fn rotation(n: usize, registration: usize, number: i64, outgoing: usize, incoming: usize) -> Rotation {
    Rotation {
        id: rotation_id(n),
        registration_id: registration_id(registration),
        number,
        actor: Actor::machine("init"),
        rotated_at: at(n as u32),
        transition: TransitionHours::new(24).unwrap(),
        reason: "quarterly".into(),
        compromised: false,
        outgoing: secret_id(outgoing),
        incoming: secret_id(incoming),
        decided: None,
    }
}

pub fn user(n: usize, email: Option<&str>) -> User {
    User {
        id: user_id(n),
        kind: if email.is_some() { UserKind::Person } else { UserKind::Program },
        email: email.map(str::to_owned),
        name: format!("user {n}"),
        password_hash: None,
        created_at: at(n as u32),
        created_by: None,
        version: 1,
    }
}

/// A grant of a user, given at a time.
pub fn grant_row(n: usize, user: usize, grant: Grant, time: Timestamp) -> GrantRow {
    GrantRow { id: grant_id(n), user_id: user_id(user), grant, source: None, created_at: time }
}

/// An event with nothing optional in it.
pub fn event(action: Action, time: Timestamp) -> NewAuditEvent {
    NewAuditEvent {
        at: time,
        actor: Actor::machine("init"),
        origin: Origin::default(),
        via: None,
        action,
        done: true,
        client_id: None,
        environment: None,
        target: None,
        reason: None,
        details: serde_json::json!({}),
    }
}

/// Property 1 and the three environments that a new instance has.
pub async fn seed(tx: &mut Tx) -> Result<(), StoreError> {
    tx.insert_property(&property_id(1), &name("Shop"), at(0)).await?;
    for (position, text) in ["development", "staging", "production"].into_iter().enumerate() {
        tx.insert_environment(&environment(text, position as i64)).await?;
    }
    Ok(())
}

/// Property 1, the three environments, and client 1 registered in staging (registration 1) and production (registration
/// 2).
pub async fn seed_client(tx: &mut Tx) -> Result<(), StoreError> {
    seed(tx).await?;
    tx.insert_client(&client(1, "Billing")).await?;
    tx.insert_registration(&registration(1, 1, "staging")).await?;
    tx.insert_registration(&registration(2, 1, "production")).await
}

/// Caps that no test reaches by chance.
pub const SOURCE_CAPS: SourceCaps = SourceCaps { of_secret: 100, of_address: 100 };

/// The use of a secret from one source.
pub fn usage_row(secret: usize, usage: Usage) -> UsageRow {
    let source = UsageSource { ip: "192.0.2.1".into(), user_agent: "curl".into(), ..UsageSource::default() };
    UsageRow { secret_id: secret_id(secret), source, usage, longest_pause: Duration::ZERO }
}

/// Adds uses of a secret.
pub async fn add_uses(t: &TestDb, secret: usize, usage: Usage) {
    t.write(async |tx| tx.add_uses(&[usage_row(secret, usage)], SOURCE_CAPS).await).await;
}
