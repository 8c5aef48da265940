//! The record that verifies the secrets of one registration.

mod keys;
mod settings;

pub(crate) use keys::DIGEST;
pub use keys::VerifierKeys;
pub(crate) use settings::{Settings, Shared};

use crate::evidence::{Failure, RefusedBy};
use crossfade_core::{
    DrillId, OauthClientId, RegistrationId, SecretId, Timestamp,
    drill::Window,
    environment::Slug,
    networks::Networks,
    registration::{AuthMethod, AuthMethods, Scopes, TokenTtl},
    rotation::{SecretState, state_at},
    upstream::IssuerMode,
};
use keys::digest;
use std::{net::IpAddr, sync::Arc};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

/// Number of secrets a record compares with: the two that can be valid, and the two that ended last, so that the trail
/// can distinguish an ended secret from a wrong one.
const SLOTS: usize = 4;

/// Digests of a recognised secret under the newest key, because the stored one is of an older key, or the digest of the
/// value alone is not stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Redigest {
    /// The secret.
    pub secret: SecretId,
    /// Its registration.
    pub registration: RegistrationId,
    /// The id of the newest key.
    pub key: String,
    /// The digest under that key; `None` if the stored one stays.
    pub digest: Option<[u8; DIGEST]>,
    /// The digest of the value alone under that key.
    pub value_digest: [u8; DIGEST],
}

/// A registration as read from the change log.
#[derive(Clone, Debug)]
pub struct Registration {
    /// The registration.
    pub id: RegistrationId,
    /// OAuth `client_id` that callers present.
    pub client_id: OauthClientId,
    /// Environment it belongs to.
    pub environment: Slug,
    /// Who issues the tokens of the environment.
    pub issuer_mode: IssuerMode,
    /// Whether it refuses everything.
    pub disabled: bool,
    /// Number of times it was disabled. Access tokens of an earlier generation have ended (rule 14).
    pub token_generation: i64,
    /// Allowed authentication methods.
    pub methods: AuthMethods,
    /// Scopes it can request.
    pub scopes: Scopes,
    /// Audience of its tokens, if it is not the issuer.
    pub audience: Option<String>,
    /// Access token lifetime.
    pub ttl: TokenTtl,
    /// Whether it can introspect every token of its environment.
    pub may_introspect: bool,
    /// Networks from which it may be used; `None` allows every address.
    pub allowed_networks: Option<Networks>,
    /// Whether it can learn a secret that an issuer accepts.
    pub learns: bool,
    /// Its secrets, in any order. Only the four most relevant ones are kept.
    pub secrets: Vec<SecretSlot>,
}

/// One secret of a registration.
#[derive(Clone, Debug)]
pub struct SecretSlot {
    /// The secret.
    pub id: SecretId,
    /// Its digest.
    pub digest: [u8; DIGEST],
    /// The id of the digest's key.
    pub digest_key: String,
    /// Whether the digest of its value alone is stored.
    pub has_value_digest: bool,
    /// Its absolute deadline.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked, if it was ended before its deadline.
    pub revoked_at: Option<Timestamp>,
    /// Windows in which it is refused while it is retiring.
    pub drill: Option<DrillSlot>,
}

/// Windows of a drill, as absolute times, so that no failure can make the drill outlast them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DrillSlot {
    /// The drill.
    pub id: DrillId,
    /// Its windows.
    pub windows: Vec<Window>,
}

impl SecretSlot {
    /// Returns its past or future end; a current secret sorts last.
    fn end(&self) -> Timestamp {
        self.revoked_at.or(self.expires_at).unwrap_or(Timestamp::from_micros(i64::MAX))
    }
}

#[derive(PartialEq, Eq)]
struct Slot {
    digest: [u8; DIGEST],
    key: u8,
    has_value_digest: bool,
    secret: SecretId,
    expires_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    drill: Option<Box<DrillSlot>>,
}

/// Digest that an empty slot is compared with.
const NOTHING: [u8; DIGEST] = [0; DIGEST];
/// Index of a missing key.
const NO_KEY: u8 = u8::MAX;

/// A registration prepared for the request path. A node has one for each of up to a million registrations.
#[derive(PartialEq, Eq)]
pub(crate) struct Verifier {
    pub(crate) registration: RegistrationId,
    pub(crate) client_id: OauthClientId,
    pub(crate) settings: Arc<Settings>,
    pub(crate) disabled: bool,
    pub(crate) token_generation: i64,
    /// Whether it can learn a secret that an issuer accepts.
    learns: bool,
    /// Whether the digest of the value alone is missing for any of its secrets.
    lacks_value_digests: bool,
    slots: Box<[Slot]>,
}

impl Verifier {
    /// Creates the record, with settings that are `shared` by all registrations that have the same.
    pub(crate) fn new(registration: Registration, keys: &VerifierKeys, shared: &Shared) -> Self {
        let slots = slots(registration.secrets, keys);
        let settings = Settings {
            environment: registration.environment,
            issuer_mode: registration.issuer_mode,
            scopes: registration.scopes,
            audience: registration.audience.map(Into::into),
            ttl: registration.ttl,
            may_introspect: registration.may_introspect,
            allowed_networks: registration.allowed_networks,
            methods: registration.methods,
        };
        Self {
            lacks_value_digests: slots.iter().any(|slot| !slot.has_value_digest),
            slots,
            registration: registration.id,
            client_id: registration.client_id,
            settings: shared.one(settings),
            disabled: registration.disabled,
            token_generation: registration.token_generation,
            learns: registration.learns,
        }
    }

    /// Whether it can learn a secret that is sent from an address in this way. It knows none of these readings of the secret,
    /// not even one that has ended.
    pub(crate) fn can_learn(
        &self,
        keys: &VerifierKeys,
        readings: &[&str],
        method: AuthMethod,
        sender: Option<IpAddr>,
    ) -> bool {
        let name = bound_name(self.settings.issuer_mode, &self.client_id, &self.registration);
        let networks = self.settings.allowed_networks.as_ref();
        self.learns
            && !self.disabled
            && self.settings.methods.allows(method)
            && networks.is_none_or(|networks| sender.is_some_and(|ip| networks.contain(ip)))
            && readings.iter().all(|secret| matching(keys, &self.slots, name, secret).slot.is_none())
    }

    /// Whether the digest of the value alone is missing for a secret.
    pub(crate) fn lacks_value_digest(&self, secret: &SecretId) -> bool {
        let is_missing = |slot: &Slot| slot.secret == *secret && !slot.has_value_digest;
        self.lacks_value_digests && self.slots.iter().any(is_missing)
    }

    /// Verifies a secret from an address at `now`. A sender that is unknown is in no network.
    pub(crate) fn verify(
        &self,
        keys: &VerifierKeys,
        secret: &str,
        method: AuthMethod,
        sender: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Verified<'_>, Unverified<'_>> {
        let name = bound_name(self.settings.issuer_mode, &self.client_id, &self.registration);
        let Match { slot, newest } = matching(keys, &self.slots, name, secret);
        let by_record = |failure| {
            let by = slot.map(|_| RefusedBy::Record);
            Err(Unverified { failure, secret: slot.map(|slot| &slot.secret), by })
        };
        if self.disabled {
            return by_record(Failure::Disabled);
        }
        if !self.settings.methods.allows(method) {
            return by_record(Failure::Method);
        }
        let Some(slot) = slot else { return by_record(Failure::Wrong) };
        let state = || state_at(slot.expires_at, slot.revoked_at, now);
        if self
            .settings
            .allowed_networks
            .as_ref()
            .is_some_and(|networks| !sender.is_some_and(|ip| networks.contain(ip)))
        {
            // A drill counts its tries, too, or it would end with nobody found.
            let by = slot.drill_at(now).filter(|_| state() == SecretState::Retiring);
            let by = by.map_or(RefusedBy::Record, |drill| RefusedBy::Drill(drill.clone()));
            return Err(Unverified { failure: Failure::Network, secret: Some(&slot.secret), by: Some(by) });
        }
        let verified = || {
            let newer = newest.filter(|(at, _)| *at != usize::from(slot.key));
            Ok(Verified { secret: &slot.secret, newer: newer.map(|(_, digest)| digest) })
        };
        match state() {
            SecretState::Current => verified(),
            // Only a retiring one: a secret that is current again is never refused by what was scheduled before.
            SecretState::Retiring => match slot.drill_at(now) {
                Some(drill) => Err(Unverified {
                    failure: Failure::Drill,
                    secret: Some(&slot.secret),
                    by: Some(RefusedBy::Drill(drill.clone())),
                }),
                None => verified(),
            },
            SecretState::Expired => by_record(Failure::Expired),
            SecretState::Revoked => by_record(Failure::Revoked),
        }
    }
}

/// A secret that is accepted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Verified<'a> {
    /// The secret.
    pub(crate) secret: &'a SecretId,
    /// Its digest under the newest key; `None` if the stored one is.
    pub(crate) newer: Option<[u8; DIGEST]>,
}

/// Why a secret is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Unverified<'a> {
    /// First reason that applies.
    pub(crate) failure: Failure,
    /// The secret, if it was recognised.
    pub(crate) secret: Option<&'a SecretId>,
    /// What refuses it, if it was recognised.
    pub(crate) by: Option<RefusedBy>,
}

impl Slot {
    /// Returns the drill that refuses it at `now`.
    fn drill_at(&self, now: Timestamp) -> Option<&DrillId> {
        let drill = self.drill.as_ref()?;
        drill.windows.iter().any(|window| window.holds(now)).then_some(&drill.id)
    }
}

/// Does the same work for an unknown `client_id` as for a known one, and finds nothing.
pub(crate) fn verify_unknown(keys: &VerifierKeys, mode: IssuerMode, client_id: &str, secret: &str) {
    let name = match mode {
        IssuerMode::Own => client_id,
        // As long as the ID of a registration: a hash takes longer over a longer name.
        IssuerMode::Upstream => UNKNOWN_REGISTRATION,
    };
    std::hint::black_box(matching(keys, &[], name, secret).slot.is_some());
}

/// Stands for the registration of an unknown `client_id`.
const UNKNOWN_REGISTRATION: &str = "reg_0000000000000000000000";

/// Returns the name of a registration that no other one has: a digest binds it, so that it matches nothing if it is copied
/// to another registration, and the client is known by it as an actor. Generated
/// client_ids are unique across all environments; given ones are not, and the ID of the registration takes their place.
pub fn bound_name<'a>(
    mode: IssuerMode,
    client_id: &'a OauthClientId,
    registration: &'a RegistrationId,
) -> &'a str {
    match mode {
        IssuerMode::Own => client_id.as_str(),
        IssuerMode::Upstream => registration.as_str(),
    }
}

/// What a presented secret matches.
struct Match<'a> {
    /// The slot of the secret; `None` if it is wrong.
    slot: Option<&'a Slot>,
    /// The place of the newest key, and the digest of the presented secret under it.
    newest: Option<(usize, [u8; DIGEST])>,
}

/// Finds the slot of the presented secret. Always computes one hash per key and compares it with every possible slot,
/// so that timing reveals nothing about the registration (rule 16).
fn matching<'a>(keys: &VerifierKeys, slots: &'a [Slot], client_id: &str, secret: &str) -> Match<'a> {
    let mut found = SLOTS as u8;
    let mut newest = None;
    for (index, _, key) in keys.present() {
        let presented = digest(key, client_id, secret);
        for at in 0..SLOTS {
            let (digest, key) = slots.get(at).map_or((&NOTHING, NO_KEY), |slot| (&slot.digest, slot.key));
            let same = presented.ct_eq(digest) & Choice::from(u8::from(key as usize == index));
            found.conditional_assign(&(at as u8), same);
        }
        newest = Some((index, presented));
    }
    Match { slot: slots.get(found as usize), newest }
}

fn slots(mut secrets: Vec<SecretSlot>, keys: &VerifierKeys) -> Box<[Slot]> {
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.end()));
    secrets.truncate(SLOTS);
    let slot = |secret: SecretSlot| Slot {
        key: keys.index(&secret.digest_key).unwrap_or(NO_KEY),
        digest: secret.digest,
        has_value_digest: secret.has_value_digest,
        secret: secret.id,
        expires_at: secret.expires_at,
        revoked_at: secret.revoked_at,
        drill: secret.drill.map(Box::new),
    };
    secrets.into_iter().map(slot).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::hmac;

    const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    const OLD_KEY: [u8; 32] = [7; 32];
    const NEW_KEY: [u8; 32] = [9; 32];

    fn client_id() -> OauthClientId {
        OauthClientId::parse("0000000000000000000001").unwrap()
    }

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(1_795_525_500_000_000 + micros)
    }

    fn keys(list: &[(&str, [u8; 32])]) -> VerifierKeys {
        VerifierKeys::new(list.iter().map(|(id, key)| ((*id).to_owned(), *key)))
    }

    /// Returns a slot of the secret `value-{n}`.
    fn slot(keys: &VerifierKeys, n: usize, expires_at: Option<i64>, revoked_at: Option<i64>) -> SecretSlot {
        let (digest_key, digest) = keys.digest(client_id().as_str(), &format!("value-{n}")).unwrap();
        SecretSlot {
            id: SecretId::parse(&format!("sec_{n:022}")).unwrap(),
            digest,
            digest_key,
            has_value_digest: true,
            expires_at: expires_at.map(at),
            revoked_at: revoked_at.map(at),
            drill: None,
        }
    }

    fn verifier(keys: &VerifierKeys, secrets: Vec<SecretSlot>) -> Verifier {
        let registration = Registration {
            id: RegistrationId::parse("reg_0000000000000000000001").unwrap(),
            client_id: client_id(),
            environment: Slug::parse("slug", "staging").unwrap(),
            issuer_mode: IssuerMode::Own,
            disabled: false,
            token_generation: 0,
            methods: AuthMethods::default(),
            scopes: Scopes::default(),
            audience: None,
            ttl: TokenTtl::default(),
            may_introspect: false,
            allowed_networks: None,
            learns: false,
            secrets,
        };
        Verifier::new(registration, keys, &Shared::default())
    }

    /// Returns the result of presenting `value-{n}`: the secret's number, or the reason and the number if it is
    /// recognised.
    fn outcome(
        verifier: &Verifier,
        keys: &VerifierKeys,
        n: usize,
    ) -> Result<usize, (Failure, Option<usize>)> {
        let number = |secret: &SecretId| secret.as_str()["sec_".len()..].parse().unwrap();
        verifier
            .verify(keys, &format!("value-{n}"), AuthMethod::ClientSecretBasic, Some(IP), at(0))
            .map(|verified| number(verified.secret))
            .map_err(|refused| (refused.failure, refused.secret.map(number)))
    }

    /// Stored digests outlive every version of this program. The value was computed with Python's hmac over
    /// the eight bytes of the length, the `client_id`, and the secret.
    #[test]
    fn the_stored_digest_never_changes_its_meaning() {
        let key: [u8; 32] = std::array::from_fn(|at| at as u8);
        let (id, digest) =
            keys(&[("k1", key)]).digest(client_id().as_str(), "crossfade_test_example").unwrap();
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(id, "k1");
        assert_eq!(hex, "8692b38abfc33abe22ccca83f7641831371c85982181115a1fc5d84225fbb6d1");
    }

    #[test]
    fn a_digest_says_where_the_client_id_ends_and_the_secret_begins() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &OLD_KEY);
        assert_ne!(digest(&key, "ab", "c"), digest(&key, "a", "bc"));
        assert_ne!(digest(&key, "", "abc"), digest(&key, "abc", ""));
    }

    #[test]
    fn a_digest_that_was_copied_to_another_registration_matches_nothing_there() {
        let keys = keys(&[("k1", OLD_KEY)]);
        let other = OauthClientId::parse("0000000000000000000002").unwrap();
        let copied = SecretSlot {
            digest: keys.digest(other.as_str(), "value-1").unwrap().1,
            ..slot(&keys, 1, None, None)
        };
        assert_eq!(outcome(&verifier(&keys, vec![copied]), &keys, 1), Err((Failure::Wrong, None)));
    }

    #[test]
    fn while_keys_roll_over_secrets_of_both_verify_and_new_digests_use_the_last() {
        let old = keys(&[("k1", OLD_KEY)]);
        let both = keys(&[("k1", OLD_KEY), ("k2", NEW_KEY)]);
        let secrets = vec![slot(&both, 2, None, None), slot(&old, 1, Some(1), None)];
        assert_eq!((&*secrets[0].digest_key, &*secrets[1].digest_key), ("k2", "k1"));
        let during = verifier(&both, secrets.clone());
        assert_eq!(outcome(&during, &both, 1), Ok(1));
        assert_eq!(outcome(&during, &both, 2), Ok(2));
        assert_eq!(outcome(&during, &both, 3), Err((Failure::Wrong, None)));

        // The order of the keys decides which is new, not which verify.
        let swapped = keys(&[("k2", NEW_KEY), ("k1", OLD_KEY)]);
        let during = verifier(&swapped, secrets.clone());
        assert_eq!((outcome(&during, &swapped, 1), outcome(&during, &swapped, 2)), (Ok(1), Ok(2)));

        let new = keys(&[("k2", NEW_KEY)]);
        let after = verifier(&new, secrets);
        assert_eq!(outcome(&after, &new, 1), Err((Failure::Wrong, None)), "its key is gone");
        assert_eq!(outcome(&after, &new, 2), Ok(2));
    }

    #[test]
    fn a_secret_under_an_older_key_verifies_and_has_a_digest_of_the_newest_key() {
        let old = keys(&[("k1", OLD_KEY)]);
        let both = old.replaced([("k1".to_owned(), OLD_KEY), ("k2".to_owned(), NEW_KEY)]);
        let newer = |keys: &VerifierKeys, slot: &SecretSlot| {
            let verifier = verifier(&both, vec![slot.clone()]);
            let method = AuthMethod::ClientSecretBasic;
            verifier.verify(keys, "value-1", method, Some(IP), at(0)).ok().map(|verified| verified.newer)
        };
        let (before, after) = (slot(&old, 1, None, None), slot(&both, 1, None, None));
        assert_eq!(newer(&old, &before), Some(None));
        assert_eq!(newer(&both, &before), Some(Some(after.digest)));
        assert_eq!(newer(&both, &after), Some(None));
    }

    #[test]
    fn a_deleted_key_verifies_nothing_and_the_others_stay() {
        let both = keys(&[("k1", OLD_KEY), ("k2", NEW_KEY)]);
        let secrets = vec![slot(&both, 2, None, None), slot(&keys(&[("k1", OLD_KEY)]), 1, Some(1), None)];
        let verifier = verifier(&both, secrets);
        let left = both.replaced([("k2".to_owned(), NEW_KEY)]);
        assert_eq!(left.ids(), ["k2"]);
        assert_eq!(outcome(&verifier, &left, 1), Err((Failure::Wrong, None)));
        assert_eq!(outcome(&verifier, &left, 2), Ok(2), "a record that was made before still names its key");
        assert_eq!(
            left.digest(client_id().as_str(), "value-3"),
            both.digest(client_id().as_str(), "value-3")
        );
    }

    #[test]
    fn a_digest_under_an_unknown_key_id_never_verifies_even_if_the_key_is_the_same() {
        let keys = keys(&[("k1", OLD_KEY), ("k2", NEW_KEY)]);
        for id in ["k3", "", "K1", "k1 "] {
            let foreign = SecretSlot { digest_key: id.to_owned(), ..slot(&keys, 1, None, None) };
            let verifier = verifier(&keys, vec![foreign]);
            assert_eq!(outcome(&verifier, &keys, 1), Err((Failure::Wrong, None)), "{id:?}");
        }
    }

    #[test]
    fn a_digest_counts_only_under_the_key_that_it_names() {
        let both = keys(&[("k1", OLD_KEY), ("k2", NEW_KEY)]);
        let mislabelled = SecretSlot { digest_key: "k1".into(), ..slot(&both, 1, None, None) };
        assert_eq!(outcome(&verifier(&both, vec![mislabelled]), &both, 1), Err((Failure::Wrong, None)));
    }

    #[test]
    fn without_keys_there_is_no_digest_and_nothing_verifies() {
        let none = keys(&[]);
        assert_eq!(none.digest(client_id().as_str(), "value-1"), None);
        let stored = slot(&keys(&[("k1", OLD_KEY)]), 1, None, None);
        assert_eq!(outcome(&verifier(&none, vec![stored]), &none, 1), Err((Failure::Wrong, None)));
    }

    #[test]
    fn a_registration_without_secrets_accepts_nothing_not_even_the_filler() {
        let keys = keys(&[("k1", OLD_KEY)]);
        let empty = verifier(&keys, Vec::new());
        let zeros = "\0".repeat(DIGEST);
        for secret in ["", "value-1", &zeros] {
            let verdict = empty.verify(&keys, secret, AuthMethod::ClientSecretPost, Some(IP), at(0));
            assert_eq!(verdict, Err(Unverified { failure: Failure::Wrong, secret: None, by: None }));
        }
    }

    /// The record has room for four secrets. In any order of the rows, the valid ones are among them, and of the ended
    /// ones those that ended last.
    #[test]
    fn the_valid_secrets_and_the_two_that_ended_last_are_kept_in_any_order() {
        let keys = keys(&[("k1", OLD_KEY)]);
        let secrets = [
            // The deadlines of 1 and 3 lie after all others, but both were ended before their time.
            slot(&keys, 1, Some(8_000_000), Some(-50)),
            slot(&keys, 2, Some(-40), None),
            slot(&keys, 3, Some(9_000_000), Some(-30)),
            slot(&keys, 4, Some(-20), None),
            slot(&keys, 5, Some(1), None),
            slot(&keys, 6, None, None),
        ];
        for turn in 0..secrets.len() {
            let mut rows = secrets.to_vec();
            rows.rotate_left(turn);
            if turn % 2 == 1 {
                rows.reverse();
            }
            let verifier = verifier(&keys, rows);
            assert_eq!(outcome(&verifier, &keys, 6), Ok(6));
            assert_eq!(outcome(&verifier, &keys, 5), Ok(5));
            assert_eq!(outcome(&verifier, &keys, 4), Err((Failure::Expired, Some(4))));
            assert_eq!(outcome(&verifier, &keys, 3), Err((Failure::Revoked, Some(3))));
            for forgotten in [1, 2] {
                assert_eq!(outcome(&verifier, &keys, forgotten), Err((Failure::Wrong, None)));
            }
        }
    }

    #[test]
    fn each_of_the_four_slots_is_compared() {
        let keys = keys(&[("k1", OLD_KEY)]);
        for n in 1..=4 {
            let rows = (1..=n).map(|n| slot(&keys, n, Some(n as i64), None)).collect();
            let verifier = verifier(&keys, rows);
            for own in 1..=n {
                assert_eq!(outcome(&verifier, &keys, own), Ok(own), "of {n}");
            }
            assert_eq!(outcome(&verifier, &keys, n + 1), Err((Failure::Wrong, None)));
        }
    }

    #[test]
    fn the_reasons_have_an_order_and_name_the_secret_where_it_matched() {
        let keys = keys(&[("k1", OLD_KEY)]);
        let mut verifier = verifier(&keys, vec![slot(&keys, 1, Some(0), None)]);
        assert_eq!(outcome(&verifier, &keys, 1), Err((Failure::Expired, Some(1))));
        let settings = Arc::get_mut(&mut verifier.settings).unwrap();
        settings.methods = AuthMethods::parse(&[AuthMethod::ClientSecretPost]).unwrap();
        assert_eq!(outcome(&verifier, &keys, 1), Err((Failure::Method, Some(1))));
        assert_eq!(outcome(&verifier, &keys, 2), Err((Failure::Method, None)));
        verifier.disabled = true;
        assert_eq!(outcome(&verifier, &keys, 1), Err((Failure::Disabled, Some(1))));
        assert_eq!(outcome(&verifier, &keys, 2), Err((Failure::Disabled, None)));
    }
}
