//! The places of sealed values. A seal binds its place as associated data, so that a sealed value opens nowhere else.

use aws_lc_rs::digest::{SHA256, digest};
use crossfade_core::{
    FactorId, ProviderId, RegistrationId, SecretId, UserId, WebhookId, environment::Slug, upstream::Slot,
};
use std::fmt;

/// SealPlace of a sealed value: its purpose and its owner.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SealPlace<'a> {
    /// A data key, sealed under the master key.
    DataKey { purpose: &'a str, id: &'a str },
    /// The value of a secret.
    Secret { registration: &'a RegistrationId, secret: &'a SecretId },
    /// The private key of an environment.
    SigningKey { environment: &'a Slug, kid: &'a str },
    /// The secret values of a remembered response: the actor of the request, and its idempotency key.
    Answer { actor: &'a str, key: &'a str },
    /// The private key that signs statements about the audit trail.
    AuditKey { id: &'a str },
    /// A secret of a webhook: `signing` or `routing`.
    Webhook { id: &'a WebhookId, secret: &'a str },
    /// A secret of the upstream credential of a registration.
    UpstreamCredential { registration: &'a RegistrationId, slot: Slot },
    /// The client secret of Crossfade at a provider.
    Provider { id: &'a ProviderId },
    /// What a browser keeps while its person is at a provider.
    SignIn { provider: &'a ProviderId },
    /// What a browser brings back with the answer of a passkey: what it is for, and the session or sign-in that it is for.
    Passkey { purpose: &'a str, holder: &'a str },
    /// The instance that a database belongs to.
    Instance { id: &'a str },
    /// A one-time link in a message that is still to be sent.
    MessageLink { message: &'a str },
    /// The shared secret or the passkey of a second factor.
    Factor { user: &'a UserId, factor: &'a FactorId },
    /// A cursor, and the list that issued it.
    Cursor { list: &'a str },
}

impl SealPlace<'_> {
    /// Returns its parts, each after its length, so that no two places give the same text.
    pub(super) fn bound(&self) -> Vec<u8> {
        let parts: &[&str] = match self {
            Self::DataKey { purpose, id } => &["data_keys", purpose, id],
            Self::Secret { registration, secret } => &["secrets", registration.as_str(), secret.as_str()],
            Self::SigningKey { environment, kid } => &["signing_keys", environment.as_str(), kid],
            Self::Answer { actor, key } => &["idempotency", actor, key],
            Self::AuditKey { id } => &["audit_keys", id],
            Self::Webhook { id, secret } => &["webhooks", id.as_str(), secret],
            Self::UpstreamCredential { registration, slot } => {
                &["upstream_credentials", registration.as_str(), slot.as_str()]
            }
            Self::Provider { id } => &["providers", id.as_str()],
            Self::SignIn { provider } => &["sign_in", provider.as_str()],
            Self::Passkey { purpose, holder } => &["passkey", purpose, holder],
            Self::Instance { id } => &["instance", id],
            Self::MessageLink { message } => &["message_links", message],
            Self::Factor { user, factor } => &["factors", user.as_str(), factor.as_str()],
            Self::Cursor { list } => &["cursor", list],
        };
        let mut bound = Vec::new();
        for part in parts {
            bound.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bound.extend_from_slice(part.as_bytes());
        }
        bound
    }
}

/// Writes the place as older versions bound it, and as the log names it.
impl fmt::Display for SealPlace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DataKey { purpose, id } => write!(f, "data_keys/{purpose}/{id}"),
            Self::Secret { secret, .. } => write!(f, "secrets/{secret}"),
            Self::SigningKey { environment, .. } => write!(f, "signing_keys/{environment}"),
            Self::Answer { actor, key } => {
                write!(f, "idempotency/{actor}/{}", hex(digest(&SHA256, key.as_bytes()).as_ref()))
            }
            Self::AuditKey { id } => write!(f, "audit_keys/{id}"),
            Self::Webhook { id, secret } => write!(f, "webhooks/{id}/{secret}"),
            Self::UpstreamCredential { registration, slot } => {
                write!(f, "upstream_credentials/{registration}/{}", slot.as_str())
            }
            Self::Provider { id } => write!(f, "providers/{id}"),
            Self::SignIn { provider } => write!(f, "sign-in with {provider}"),
            Self::Passkey { purpose, .. } => write!(f, "answer of a passkey to {purpose}"),
            Self::Instance { id } => write!(f, "instance/{id}"),
            Self::MessageLink { message } => write!(f, "message_links/{message}"),
            Self::Factor { user, factor } => write!(f, "factors/{user}/{factor}"),
            Self::Cursor { list } => write!(f, "cursor of {list}"),
        }
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_places_are_bound_alike() {
        let answer = |actor, key| SealPlace::Answer { actor, key }.bound();
        assert_ne!(answer("ab", "c"), answer("a", "bc"));
        assert_ne!(answer("a", "/b"), answer("a/", "b"));
    }

    /// Sealed values outlive every version of this program. The parts are written out, each after its length in eight
    /// bytes; the second text is what older versions bound.
    #[test]
    fn a_place_is_bound_by_these_bytes_for_ever() {
        let registration = RegistrationId::parse(&format!("reg_{:022}", 1)).unwrap();
        let secret = SecretId::parse(&format!("sec_{:022}", 2)).unwrap();
        let environment = Slug::from_stored("staging".into());
        let webhook = WebhookId::parse(&format!("wh_{:022}", 3)).unwrap();
        let provider = ProviderId::parse(&format!("idp_{:022}", 4)).unwrap();
        let user = UserId::parse(&format!("usr_{:022}", 4)).unwrap();
        let factor = FactorId::parse(&format!("fac_{:022}", 5)).unwrap();
        for (place, bound, old) in [
            (
                SealPlace::DataKey { purpose: "seal", id: "0000000000000007" },
                "0000000000000009 646174615f6b657973 0000000000000004 7365616c 0000000000000010 30303030303030303030303030303037",
                "data_keys/seal/0000000000000007",
            ),
            (
                SealPlace::Secret { registration: &registration, secret: &secret },
                "0000000000000007 73656372657473 000000000000001a 7265675f30303030303030303030303030303030303030303031 \
                 000000000000001a 7365635f30303030303030303030303030303030303030303032",
                "secrets/sec_0000000000000000000002",
            ),
            (
                SealPlace::SigningKey { environment: &environment, kid: "kid" },
                "000000000000000c 7369676e696e675f6b657973 0000000000000007 73746167696e67 0000000000000003 6b6964",
                "signing_keys/staging",
            ),
            (
                SealPlace::Answer { actor: "usr_1", key: "k" },
                "000000000000000b 6964656d706f74656e6379 0000000000000005 7573725f31 0000000000000001 6b",
                "idempotency/usr_1/8254c329a92850f6d539dd376f4816ee2764517da5e0235514af433164480d7a",
            ),
            (
                SealPlace::AuditKey { id: "k" },
                "000000000000000a 61756469745f6b657973 0000000000000001 6b",
                "audit_keys/k",
            ),
            (
                SealPlace::Webhook { id: &webhook, secret: "signing" },
                "0000000000000008 776562686f6f6b73 0000000000000019 77685f30303030303030303030303030303030303030303033 \
                 0000000000000007 7369676e696e67",
                "webhooks/wh_0000000000000000000003/signing",
            ),
            (
                SealPlace::UpstreamCredential { registration: &registration, slot: Slot::Next },
                "0000000000000014 757073747265616d5f63726564656e7469616c73 000000000000001a \
                 7265675f30303030303030303030303030303030303030303031 0000000000000004 6e657874",
                "upstream_credentials/reg_0000000000000000000001/next",
            ),
            (
                SealPlace::Provider { id: &provider },
                "0000000000000009 70726f766964657273 000000000000001a 6964705f30303030303030303030303030303030303030303034",
                "providers/idp_0000000000000000000004",
            ),
            (
                SealPlace::SignIn { provider: &provider },
                "0000000000000007 7369676e5f696e 000000000000001a 6964705f30303030303030303030303030303030303030303034",
                "sign-in with idp_0000000000000000000004",
            ),
            (
                SealPlace::Passkey { purpose: "add", holder: "ses" },
                "0000000000000007 706173736b6579 0000000000000003 616464 0000000000000003 736573",
                "answer of a passkey to add",
            ),
            (
                SealPlace::Instance { id: "i" },
                "0000000000000008 696e7374616e6365 0000000000000001 69",
                "instance/i",
            ),
            (
                SealPlace::MessageLink { message: "m" },
                "000000000000000d 6d6573736167655f6c696e6b73 0000000000000001 6d",
                "message_links/m",
            ),
            (
                SealPlace::Factor { user: &user, factor: &factor },
                "0000000000000007 666163746f7273 000000000000001a 7573725f30303030303030303030303030303030303030303034 \
                 000000000000001a 6661635f30303030303030303030303030303030303030303035",
                "factors/usr_0000000000000000000004/fac_0000000000000000000005",
            ),
            (
                SealPlace::Cursor { list: "clients" },
                "0000000000000006 637572736f72 0000000000000007 636c69656e7473",
                "cursor of clients",
            ),
        ] {
            assert_eq!(hex(&place.bound()), bound.replace(' ', ""), "{place}");
            assert_eq!(place.to_string(), old);
        }
    }
}
