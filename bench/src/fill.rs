//! Registrations whose credentials are derived from their number, so that the three processes agree on them.

use crate::{ASKED, Alg, Failure, server};
use crossfade_app::{App, Creation, DEFAULT_LEASE, KeySource, NodeOptions, Options, PasswordCost};
use crossfade_authority::{Clock, SystemRandom};
use crossfade_core::{
    ClientId, OauthClientId, PropertyId, Random, RegistrationId, SecretId,
    environment::{EnvironmentKind, Slug},
    networks::Networks,
    registration::{AuthMethods, Scopes, TokenTtl},
    secret::{SecretKind, SecretOrigin, SecretValue},
    text::Name,
};
use crossfade_store::{Client, Location, Registration, SecretRow, StoreError, Tx};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Number of registrations stored in one transaction.
const BATCH: usize = 20_000;

/// Networks that may use the secrets. The check is part of what a token costs.
const LOADED_FROM: &str = "127.0.0.0/8";

/// Repeatable bytes (splitmix64), only for secrets of a benchmark.
struct Repeatable(AtomicU64);

impl Repeatable {
    fn of(alg: Alg, number: usize) -> Self {
        Self(AtomicU64::new((number as u64) << 20 | alg as u64))
    }
}

impl Random for Repeatable {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let mut mixed = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(mixed ^ (mixed >> 31)).to_be_bytes()[..chunk.len()]);
        }
    }
}

/// Returns the `client_id` and the secret of a registration.
pub(crate) fn credentials(alg: Alg, number: usize) -> (OauthClientId, SecretValue) {
    let random = Repeatable::of(alg, number);
    let kind = SecretKind::Client(EnvironmentKind::Live);
    (OauthClientId::generate(&random), SecretValue::generate(kind, &random))
}

/// Returns the credentials of the registrations that the load is spread over, across the complete table.
pub(crate) fn asked(alg: Alg, registrations: usize) -> Vec<(OauthClientId, SecretValue)> {
    let there = match alg {
        Alg::Es256 => registrations,
        Alg::EdDsa => registrations.min(ASKED),
    };
    (0..there).step_by(there.div_ceil(ASKED)).map(|number| credentials(alg, number)).collect()
}

/// Email address and password of the Owner.
pub(crate) const OWNER: (&str, &str) = ("bench@example.com", "a password of a benchmark");

/// Returns the database in a data directory.
pub(crate) fn location(directory: &Path) -> Location {
    Location::File(directory.join("crossfade.db"))
}

/// Returns the master key in a data directory.
pub(crate) fn master_key(directory: &Path) -> KeySource {
    KeySource::File(directory.join("master.key"))
}

/// Opens the database filled by [`fill`], in this process.
pub(crate) async fn open(directory: &Path) -> Result<Arc<App>, Failure> {
    let options = Options {
        audit_retention_days: None,
        audit_sinks: Vec::new(),
        mailer: None,
        poster: Arc::default(),
        relay: Default::default(),
        journal: None,
        location: location(directory),
        master_key: master_key(directory),
        public_url: "http://127.0.0.1".to_owned(),
        admin_url: "http://127.0.0.1".to_owned(),
        clock: Arc::new(Clock::system()),
        random: Arc::new(SystemRandom),
        evidence_addresses: crossfade_app::AddressPolicy::Full,
        fresh_sign_in: std::time::Duration::from_secs(600),
        node: NodeOptions { name: "here".to_owned(), lease: DEFAULT_LEASE },
        password_cost: PasswordCost::RECOMMENDED,
        readings_kept: std::time::Duration::from_secs(1),
        decides: true,
        creation: Creation::WithNewKey,
    };
    Ok(App::open(options).await?)
}

/// Fills a new database with two environments and this number of registrations with a secret in each. Returns a token
/// of the Owner.
pub(crate) async fn fill(directory: &Path, registrations: usize) -> Result<String, Failure> {
    let token = server::initialise(directory).await?;
    let app = open(directory).await?;
    let property = PropertyId::generate(&SystemRandom);
    app.db()
        .write::<_, StoreError>(async |tx| {
            let name = Name::parse("name", "Bench").map_err(|error| StoreError::Open(error.detail))?;
            tx.insert_property(&property, &name, app.authority().clock().now()).await
        })
        .await?;
    for from in (0..registrations).step_by(BATCH) {
        let numbers = from..registrations.min(from + BATCH);
        app.db()
            .write::<_, StoreError>(async |tx| {
                for number in numbers.clone() {
                    insert(tx, &app, &property, number).await?;
                }
                Ok(())
            })
            .await?;
    }
    app.close().await;
    Ok(token)
}

/// Inserts a client with a registration and a secret in each environment.
async fn insert(tx: &mut Tx, app: &App, property: &PropertyId, number: usize) -> Result<(), StoreError> {
    let refused = |error: crossfade_core::Problem| StoreError::Open(error.detail);
    let now = app.authority().clock().now();
    let client = Client {
        id: ClientId::generate(&SystemRandom),
        property_id: property.clone(),
        name: Name::parse("name", &format!("Client {number}")).map_err(refused)?,
        description: String::new(),
        owners: Vec::new(),
        created_at: now,
        version: 1,
    };
    tx.insert_client(&client).await?;
    for alg in Alg::ALL {
        let (client_id, secret) = credentials(alg, number);
        let no_key = || StoreError::Open("the instance has no verifier key".to_owned());
        let (digest_key, digest) =
            app.authority().digest(client_id.as_str(), secret.reveal()).ok_or_else(no_key)?;
        let registration = Registration {
            id: RegistrationId::generate(&SystemRandom),
            client_id: client.id.clone(),
            environment: Slug::from_stored(alg.environment().to_owned()),
            oauth_client_id: client_id,
            methods: AuthMethods::default(),
            scopes: Scopes::from_stored("read write".to_owned()),
            audience: None,
            ttl: TokenTtl::default(),
            may_introspect: false,
            allowed_networks: Networks::from_stored(LOADED_FROM),
            self_rotation: false,
            created_at: now,
            disabled_at: None,
            enabled_at: None,
            earlier_tokens_end_at: None,
            token_generation: 0,
            version: 1,
            current_since: None,
            is_public: None,
        };
        tx.insert_registration(&registration).await?;
        let row = SecretRow {
            id: SecretId::generate(&SystemRandom),
            registration_id: registration.id,
            number: 1,
            created_at: now,
            digest: digest.to_vec(),
            value_digest: app.authority().value_digest(secret.reveal()).ok_or_else(no_key)?.to_vec(),
            digest_key,
            sealed: None,
            origin: SecretOrigin::Generated,
        };
        tx.insert_secret(&row).await?;
        // Beyond the requested registrations, one environment is enough to fill the table.
        if number >= ASKED {
            break;
        }
    }
    Ok(())
}
