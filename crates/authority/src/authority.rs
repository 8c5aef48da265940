//! The authority: tables that every request reads and the change log writes.

use crate::{
    Clock, Evidence, Failure, Moment, Registration, Source, SystemRandom, VerifierKeys,
    attempts::Attempts,
    given::GivenIds,
    mint::{self, Claims, Content},
    random::jti,
    seen::Seen,
    signing::{Environment, SigningKey},
    upstream::UpstreamCredential,
    verifier::{DIGEST, Redigest, Shared, Unverified, Verified, Verifier, bound_name, verify_unknown},
};
use arc_swap::ArcSwap;
use crossfade_core::{
    OauthClientId, Random, RegistrationId, SecretId, Timestamp, environment::Slug, oauth::OauthError,
    registration::AuthMethod, upstream::IssuerMode,
};
use foldhash::fast::RandomState;
use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    hash::Hash,
    net::IpAddr,
    sync::Arc,
};

/// Maximum number of digests that wait to be stored. Further ones are noted when their secrets are presented again.
const MAX_OUTDATED: usize = 10_000;

/// A given `client_id`, which is unique in its environment only.
type Given = (Slug, OauthClientId);

type Table<K, V> = papaya::HashMap<K, V, RandomState>;

/// Verifies secrets and mints tokens, in memory.
pub struct Authority {
    clock: Arc<Clock>,
    keys: ArcSwap<VerifierKeys>,
    /// Secrets that were recognised by a digest of an older key, or without a digest of the value alone.
    outdated: Table<SecretId, Redigest>,
    environments: ArcSwap<HashMap<Slug, Arc<Environment>>>,
    /// Registrations of environments that issue their own tokens. Their client_ids are unique across environments.
    verifiers: Table<OauthClientId, Arc<Verifier>>,
    /// Registrations of environments in front of other issuers.
    front: Table<Given, Arc<Verifier>>,
    /// Marks of all client_ids that were ever given in environments in front of other issuers.
    given: GivenIds,
    /// Their credentials for these issuers.
    credentials: Table<RegistrationId, Arc<UpstreamCredential>>,
    settings: Shared,
    /// Secrets whose tokens were ended, until the last of these tokens would have expired anyway.
    secrets_with_ended_tokens: Table<SecretId, Timestamp>,
    /// Individual tokens revoked by their clients, until they would have expired anyway.
    revoked_tokens: Table<Box<str>, Timestamp>,
    /// Tokens whose signature was verified.
    seen: Seen,
    evidence: Evidence,
    attempts: Attempts,
}

/// The credentials of a request. Has no `Debug`, which would show the secret.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    /// The `client_id`.
    pub client_id: &'a str,
    /// The secret.
    pub secret: &'a str,
    /// What else the secret can be, if it was sent in a way that issuers read in several ways.
    pub further_readings: &'a [&'a str],
    /// How they were sent.
    pub method: AuthMethod,
    /// Where they came from.
    pub source: Source<'a>,
    /// Address that the allowed networks are compared with; `None` if a proxy did not say it.
    pub sender: Option<IpAddr>,
}

/// An authenticated client.
pub struct Client {
    verifier: Arc<Verifier>,
    secret: SecretId,
    at: Moment,
}

/// The complete content of the tables, from one snapshot of the database.
#[derive(Default)]
pub struct Tables {
    /// The environments.
    pub environments: Vec<Environment>,
    /// The registrations that are not deleted.
    pub registrations: Vec<Registration>,
    /// Environments in front of other issuers, and client_ids that were given in them to registrations that are deleted or cannot
    /// be read.
    pub given: Vec<(Slug, String)>,
    /// Credentials of registrations for the issuers that their environments are in front of.
    pub upstream_credentials: Vec<(RegistrationId, UpstreamCredential)>,
    /// Secrets whose tokens were ended, each until the last of these tokens would have expired anyway.
    pub secrets_with_ended_tokens: Vec<(SecretId, Timestamp)>,
    /// Revoked tokens by their `jti`, each until it would have expired anyway.
    pub revoked_tokens: Vec<(String, Timestamp)>,
}

/// A token that is issued: its claims, signed where they are written to. Has no `Debug`, which would show it.
pub struct Issued<'a> {
    key: &'a SigningKey,
    claims: String,
    /// Lifetime in seconds.
    pub expires_in: u32,
    /// Granted scope.
    pub scope: Cow<'a, str>,
}

impl Issued<'_> {
    /// Returns the length of the token in bytes.
    pub fn token_length(&self) -> usize {
        mint::token_length(self.key, &self.claims)
    }

    /// Signs the token and appends it, a compact JWT.
    pub fn write_token(&self, out: &mut String) -> Result<(), OauthError> {
        mint::sign(self.key, &self.claims, out).ok_or(OauthError::TemporarilyUnavailable)
    }

    /// Signs the token and returns it.
    pub fn access_token(&self) -> Result<String, OauthError> {
        let mut token = String::with_capacity(self.token_length());
        self.write_token(&mut token)?;
        Ok(token)
    }
}

/// A token that is active (RFC 7662 §2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveToken(pub Claims);

impl Authority {
    /// Creates empty tables.
    pub fn new(clock: Arc<Clock>, keys: VerifierKeys) -> Self {
        let mut seed = [0; 8];
        SystemRandom.fill(&mut seed);
        Self {
            clock,
            keys: ArcSwap::from_pointee(keys),
            outdated: Table::default(),
            environments: ArcSwap::default(),
            verifiers: Table::default(),
            front: Table::default(),
            given: GivenIds::default(),
            credentials: Table::default(),
            settings: Shared::default(),
            secrets_with_ended_tokens: Table::default(),
            revoked_tokens: Table::default(),
            seen: Seen::new(),
            evidence: Evidence::new(u64::from_be_bytes(seed)),
            attempts: Attempts::new(),
        }
    }

    /// Returns the clock that decides.
    pub fn clock(&self) -> &Arc<Clock> {
        &self.clock
    }

    /// Returns the evidence collected so far.
    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// Returns the digest to store for a new secret of the registration with this [`bound_name`](crate::bound_name), and the
    /// id of its key.
    pub fn digest(&self, name: &str, secret: &str) -> Option<(String, [u8; 32])> {
        self.keys.load().digest(name, secret)
    }

    /// Returns the digest of the value of a new secret alone, under the same key as [`Self::digest`].
    pub fn value_digest(&self, secret: &str) -> Option<[u8; 32]> {
        self.keys.load().value_digest(secret)
    }

    /// Returns the digests of a value alone under every key, to find the secret that it is.
    pub fn value_digests(&self, secret: &str) -> Vec<[u8; 32]> {
        self.keys.load().value_digests(secret)
    }

    /// Returns the ids of the keys of the hash that verifies secrets, oldest first.
    pub fn verifier_keys(&self) -> Vec<String> {
        self.keys.load().ids()
    }

    /// Replaces the keys of the hash that verifies secrets. New digests use the last one.
    pub fn set_verifier_keys(&self, stored: impl IntoIterator<Item = (String, [u8; 32])>) {
        let keys = self.keys.load().replaced(stored);
        self.keys.store(Arc::new(keys));
    }

    /// Takes at most `limit` digests under the newest key that are not stored yet.
    pub fn take_outdated(&self, limit: usize) -> Vec<Redigest> {
        let outdated = self.outdated.pin();
        let taken: Vec<Redigest> = outdated.iter().take(limit).map(|(_, digest)| digest.clone()).collect();
        for digest in &taken {
            outdated.remove(&digest.secret);
        }
        taken
    }

    // What the request path asks.

    /// Returns an environment by its slug.
    pub fn environment(&self, slug: &str) -> Option<Arc<Environment>> {
        // The map is small and a lookup by &str needs no Slug to be made.
        self.environments.load().iter().find(|(own, _)| own.as_str() == slug).map(|(_, found)| found.clone())
    }

    /// Authenticates a client (RFC 6749 §2.3.1) and leaves evidence of it.
    pub fn authenticate(
        &self,
        environment: &Environment,
        credentials: &Credentials<'_>,
    ) -> Result<Client, OauthError> {
        let Credentials { client_id, secret, further_readings, method, source, sender } = *credentials;
        let ip = source.ip;
        let known = self.known(environment, client_id);
        let at = self.clock.read();
        let now = at.now;
        // After the record, whose digests may be under a key that was added just before.
        let keys = self.keys.load();
        let Some(verifier) = known else {
            for presented in std::iter::once(&secret).chain(further_readings) {
                verify_unknown(&keys, environment.issuer_mode(), client_id, presented);
            }
            return Err(self.failed(environment, client_id, None, None, Failure::UnknownClient, ip, now));
        };
        let mut presented = secret;
        let mut decided = verifier.verify(&keys, presented, method, sender, now);
        for reading in further_readings {
            // After a refusal all of them are verified, so that the work does not depend on what is known.
            if decided.is_ok() {
                break;
            }
            let other = verifier.verify(&keys, reading, method, sender, now);
            let is_recognised =
                |it: &Result<_, Unverified<'_>>| it.as_ref().map_or_else(|it| it.secret.is_some(), |_| true);
            if is_recognised(&other) && !is_recognised(&decided) {
                (presented, decided) = (reading, other);
            }
        }
        match decided {
            Ok(Verified { secret, newer }) => {
                self.evidence.used(secret, &source, now);
                if newer.is_some() || verifier.lacks_value_digest(secret) {
                    self.note_outdated(&keys, &verifier, (secret, presented), newer);
                }
                let secret = secret.clone();
                Ok(Client { verifier, secret, at })
            }
            Err(Unverified { failure, secret, by }) => {
                if let Some(secret) = secret.filter(|secret| verifier.lacks_value_digest(secret)) {
                    self.note_outdated(&keys, &verifier, (secret, presented), None);
                }
                // Also of those who fail too often: the verdict asks who still uses an ended secret.
                if let (Some(secret), Some(by)) = (secret, by) {
                    self.evidence.refused(secret, &by, &source, now);
                }
                let registration = Some(&verifier.registration);
                Err(self.failed(environment, client_id, registration, secret, failure, ip, now))
            }
        }
    }

    /// Returns the registration that can learn the secret of a request, if none of its readings is one that it has or had.
    /// Leaves no evidence.
    pub fn learner(
        &self,
        environment: &Environment,
        credentials: &Credentials<'_>,
    ) -> Option<RegistrationId> {
        if !environment.adopts(self.clock.read().now) {
            return None;
        }
        let Credentials { client_id, secret, further_readings, method, sender, .. } = *credentials;
        let verifier = self.known(environment, client_id)?;
        let readings: Vec<&str> = std::iter::once(secret).chain(further_readings.iter().copied()).collect();
        let can_learn = verifier.can_learn(&self.keys.load(), &readings, method, sender);
        can_learn.then(|| verifier.registration.clone())
    }

    /// Returns the record of a `client_id`. Another environment's client is unknown here.
    fn known(&self, environment: &Environment, client_id: &str) -> Option<Arc<Verifier>> {
        match environment.issuer_mode() {
            IssuerMode::Own => {
                let client_id = OauthClientId::generated(client_id)?;
                let verifiers = self.verifiers.pin();
                let known = verifiers.get(&client_id);
                known.filter(|known| known.settings.environment == *environment.slug()).cloned()
            }
            IssuerMode::Upstream => {
                let given = (environment.slug().clone(), OauthClientId::parse(client_id).ok()?);
                self.front.pin().get(&given).cloned()
            }
        }
    }

    /// Whether a `client_id` is or was that of a registration in an environment in front of another issuer, also if that is
    /// disabled, deleted or unreadable. A name that differs only in case or in space around it counts, because some issuers
    /// take it for the same.
    pub fn was_given(&self, environment: &Environment, name: &str) -> bool {
        self.given.contains(environment.slug(), name)
    }

    /// Notes the digests of a secret under the newest key, which are stored later.
    fn note_outdated(
        &self,
        keys: &VerifierKeys,
        verifier: &Verifier,
        (secret, presented): (&SecretId, &str),
        digest: Option<[u8; DIGEST]>,
    ) {
        let outdated = self.outdated.pin();
        if outdated.contains_key(secret) || outdated.len() >= MAX_OUTDATED {
            return;
        }
        if let (Some(key), Some(value_digest)) = (keys.ids().pop(), keys.value_digest(presented)) {
            let registration = verifier.registration.clone();
            let noted = Redigest { secret: secret.clone(), registration, key, digest, value_digest };
            outdated.insert(secret.clone(), noted);
        }
    }

    /// Records an attempt without usable credentials.
    pub fn malformed(&self, ip: IpAddr) -> OauthError {
        // Never too many: many clients send their credentials only when they are asked for them.
        self.evidence.failed(None, None, Failure::Malformed, ip, self.clock.now());
        OauthError::InvalidClient
    }

    /// Records a failed authentication, and returns its response. Beyond the limit it leaves the reason out,
    /// unless the secret was recognised: then nobody guesses, and the trail must know.
    #[expect(clippy::too_many_arguments, reason = "what is known of a failure")]
    fn failed(
        &self,
        environment: &Environment,
        client_id: &str,
        registration: Option<&RegistrationId>,
        secret: Option<&SecretId>,
        failure: Failure,
        ip: IpAddr,
        now: Timestamp,
    ) -> OauthError {
        if self.attempts.are_too_many(environment.slug(), client_id, ip, self.clock.elapsed()) {
            let reason = if secret.is_some() { failure } else { Failure::Throttled };
            self.evidence.failed(registration, secret, reason, ip, now);
            return OauthError::TooManyFailures;
        }
        self.evidence.failed(registration, secret, failure, ip, now);
        OauthError::InvalidClient
    }

    /// Issues an access token (RFC 6749 §4.4.3).
    pub fn issue<'a>(
        &self,
        environment: &'a Environment,
        client: &'a Client,
        scope: Option<&str>,
    ) -> Result<Issued<'a>, OauthError> {
        let verifier = &client.verifier;
        let settings = &*verifier.settings;
        let scope = settings.scopes.grant(scope)?;
        // The time of the authentication: the token belongs to that moment, and the clock is read once.
        let key = environment.signing_key(client.at.now).ok_or(OauthError::TemporarilyUnavailable)?;
        let jti = jti();
        let content = Content {
            client_id: &verifier.client_id,
            audience: settings.audience.as_deref(),
            secret: &client.secret,
            scope: &scope,
            issued_at: client.at.machine,
            ttl_seconds: settings.ttl.seconds(),
            jti: std::str::from_utf8(&jti).unwrap_or_default(),
            generation: verifier.token_generation,
        };
        let claims = mint::claims(environment.issuer(), &content);
        Ok(Issued { key, claims, expires_in: settings.ttl.seconds(), scope })
    }

    /// Returns the token, if it is active and `client` is permitted to know that (RFC 7662 §2.2, §4).
    pub fn introspect(&self, environment: &Environment, client: &Client, token: &str) -> Option<ActiveToken> {
        let claims = self.active(environment, token, &client.at)?;
        let own = claims.client_id == client.verifier.client_id.as_str();
        (own || client.verifier.settings.may_introspect).then_some(ActiveToken(claims))
    }

    /// Returns the claims of a token that the client can revoke (RFC 7009 §2.1): its own, and not ended by anything but
    /// time. Includes tokens that look expired, because they become active again if the clock is ahead and is
    /// corrected.
    pub fn revocable(&self, environment: &Environment, client: &Client, token: &str) -> Option<Claims> {
        let claims = mint::verified(environment, token, &client.at)?;
        let own = claims.client_id == client.verifier.client_id.as_str();
        (own && !self.is_ended(environment, &claims)).then_some(claims)
    }

    fn active(&self, environment: &Environment, token: &str, at: &Moment) -> Option<Claims> {
        mint::read(environment, token, at, &self.seen).filter(|claims| !self.is_ended(environment, claims))
    }

    /// Whether anything but time has ended a token.
    fn is_ended(&self, environment: &Environment, claims: &Claims) -> bool {
        let verifiers = self.verifiers.pin();
        let owner =
            OauthClientId::generated(&claims.client_id).and_then(|client_id| verifiers.get(&client_id));
        let (Some(owner), Ok(secret)) = (owner, SecretId::parse(&claims.crossfade_secret)) else {
            return true;
        };
        owner.disabled
            || claims.crossfade_generation != owner.token_generation
            || owner.settings.environment != *environment.slug()
            || self.secrets_with_ended_tokens.pin().contains_key(&secret)
            || self.revoked_tokens.pin().contains_key(claims.jti.as_str())
    }

    // What the change log says.

    /// Replaces the complete content, and returns the `client_id` of each registration that is decided differently
    /// since then. A request sees a registration before or after the change, never a mixture. Everything that is not in
    /// `tables` is removed.
    pub fn replace(&self, tables: Tables) -> Vec<OauthClientId> {
        let environments = tables.environments.into_iter().map(|it| (it.slug().clone(), Arc::new(it)));
        let keys = self.keys.load();
        let (mut own, mut front) = (HashMap::new(), HashMap::new());
        let mut ids = self.given.replacing();
        for (environment, client_id) in &tables.given {
            ids.add(environment, client_id);
        }
        for registration in tables.registrations {
            let verifier = Arc::new(Verifier::new(registration, &keys, &self.settings));
            match verifier.settings.issuer_mode {
                IssuerMode::Own => drop(own.insert(verifier.client_id.clone(), verifier)),
                IssuerMode::Upstream => {
                    ids.add(&verifier.settings.environment, verifier.client_id.as_str());
                    front.insert(given(&verifier), verifier);
                }
            }
        }
        // Before the environments, which may pass on what is not among them.
        ids.finish();
        let mut changed = replace_verifiers(&self.verifiers, own);
        changed.extend(replace_verifiers(&self.front, front));
        let credentials = self.credentials.pin();
        let kept: HashSet<_> = tables.upstream_credentials.iter().map(|(id, _)| id.clone()).collect();
        credentials.retain(|id, _| kept.contains(id));
        for (id, credential) in tables.upstream_credentials {
            credentials.insert(id, Arc::new(credential));
        }
        changed.sort();
        replace(&self.secrets_with_ended_tokens, tables.secrets_with_ended_tokens);
        let revoked = tables.revoked_tokens.into_iter().map(|(jti, until)| (jti.into_boxed_str(), until));
        replace(&self.revoked_tokens, revoked);
        self.environments.store(Arc::new(environments.collect()));
        changed
    }

    /// Publishes an environment. Its registrations stay.
    pub fn put_environment(&self, environment: Environment) {
        let environment = Arc::new(environment);
        self.environments.rcu(|map| {
            let mut map = HashMap::clone(map);
            map.insert(environment.slug().clone(), environment.clone());
            map
        });
    }

    /// Removes an environment.
    pub fn remove_environment(&self, slug: &Slug) {
        self.environments.rcu(|map| {
            let mut map = HashMap::clone(map);
            map.remove(slug);
            map
        });
    }

    /// Publishes the present state of a registration.
    pub fn put_registration(&self, registration: Registration) {
        let verifier = Arc::new(Verifier::new(registration, &self.keys.load(), &self.settings));
        match verifier.settings.issuer_mode {
            IssuerMode::Own => drop(self.verifiers.pin().insert(verifier.client_id.clone(), verifier)),
            IssuerMode::Upstream => {
                self.given.add(&verifier.settings.environment, verifier.client_id.as_str());
                self.front.pin().insert(given(&verifier), verifier);
            }
        }
    }

    /// Publishes the credential of a registration for the issuer that its environment is in front of; `None` if it has none.
    pub fn put_upstream_credential(&self, id: &RegistrationId, credential: Option<UpstreamCredential>) {
        match credential {
            Some(credential) => drop(self.credentials.pin().insert(id.clone(), Arc::new(credential))),
            None => drop(self.credentials.pin().remove(id)),
        }
    }

    /// Returns the credential of an authenticated client for the issuer that its environment is in front of.
    pub fn upstream_credential(&self, registration: &RegistrationId) -> Option<Arc<UpstreamCredential>> {
        self.credentials.pin().get(registration).cloned()
    }

    /// Removes a registration: from now on its `client_id` is unknown in its environment.
    pub fn remove_registration(&self, mode: IssuerMode, environment: &Slug, client_id: &OauthClientId) {
        match mode {
            IssuerMode::Own => drop(self.verifiers.pin().remove(client_id)),
            IssuerMode::Upstream => {
                self.given.add(environment, client_id.as_str());
                self.front.pin().remove(&(environment.clone(), client_id.clone()));
            }
        }
    }

    /// Removes a registration whose row cannot be read, and keeps its environment and `client_id` as given if they are known.
    /// Searches all registrations.
    pub fn remove_unreadable(&self, registration: &RegistrationId, given: Option<&(Slug, String)>) {
        if let Some((environment, client_id)) = given {
            self.given.add(environment, client_id);
        }
        self.verifiers.pin().retain(|_, verifier| verifier.registration != *registration);
        self.front.pin().retain(|_, verifier| verifier.registration != *registration);
    }

    /// Ends the tokens issued under a secret. They would have expired by `until` anyway.
    pub fn end_tokens_of_secret(&self, secret: SecretId, until: Timestamp) {
        let table = self.secrets_with_ended_tokens.pin();
        table.update_or_insert(secret, |known| until.max(*known), until);
    }

    /// Revokes one token, which would have expired at `until` anyway.
    pub fn revoke_token(&self, jti: &str, until: Timestamp) {
        self.revoked_tokens.pin().insert(jti.into(), until);
    }

    /// Forgets revocations of tokens that would have expired by `ended_by` anyway.
    pub fn forget_revocations(&self, ended_by: Timestamp) {
        self.secrets_with_ended_tokens.pin().retain(|_, until| ended_by < *until);
        self.revoked_tokens.pin().retain(|_, until| ended_by < *until);
    }

    /// Returns the number of loaded registrations.
    pub fn registrations(&self) -> usize {
        self.verifiers.pin().len() + self.front.pin().len()
    }
}

fn given(verifier: &Verifier) -> Given {
    (verifier.settings.environment.clone(), verifier.client_id.clone())
}

/// Replaces the registrations of a table, and returns the `client_id` of each that is decided differently since then.
fn replace_verifiers<K: Clone + Hash + Eq>(
    table: &Table<K, Arc<Verifier>>,
    new: HashMap<K, Arc<Verifier>>,
) -> Vec<OauthClientId> {
    let verifiers = table.pin();
    let mut changed: Vec<OauthClientId> = verifiers
        .iter()
        .filter(|(key, before)| new.get(*key) != Some(before))
        .map(|(_, before)| before.client_id.clone())
        .collect();
    let added = new.iter().filter(|(key, _)| !verifiers.contains_key(*key));
    changed.extend(added.map(|(_, after)| after.client_id.clone()));
    for (key, verifier) in &new {
        verifiers.insert(key.clone(), verifier.clone());
    }
    verifiers.retain(|key, _| new.contains_key(key));
    changed
}

/// Replaces the entries of a table. Entries that stay are never missing in between.
fn replace<K: Clone + Hash + Eq>(
    table: &Table<K, Timestamp>,
    entries: impl IntoIterator<Item = (K, Timestamp)>,
) {
    let table = table.pin();
    let mut kept = HashSet::new();
    for (key, until) in entries {
        kept.insert(key.clone());
        table.insert(key, until);
    }
    table.retain(|key, _| kept.contains(key));
}

impl Client {
    /// Returns the registration.
    pub fn registration(&self) -> &RegistrationId {
        &self.verifier.registration
    }

    /// Returns the `client_id`.
    pub fn client_id(&self) -> &OauthClientId {
        &self.verifier.client_id
    }

    /// Returns the name that no other client has.
    pub fn bound_name(&self) -> &str {
        bound_name(self.verifier.settings.issuer_mode, &self.verifier.client_id, &self.verifier.registration)
    }

    /// Returns the secret it authenticated with.
    pub fn secret(&self) -> &SecretId {
        &self.secret
    }
}

#[cfg(test)]
mod tests;
