//! The second factor of a password: time-based codes (RFC 6238), passkeys, recovery codes, and who is asked for a factor.

use crate::{Random, Timestamp, account::UserKind, typed_code::TypedCode};
use aws_lc_rs::{constant_time, hmac};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{fmt, time::Duration};
use url::{Host, Url};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Length of the shared secret of a code generator in bytes: that of the hash (RFC 4226 §4).
pub const SHARED_SECRET_BYTES: usize = 20;
/// Seconds for which a code is shown (RFC 6238 §4).
const STEP_SECONDS: i64 = 30;
/// Number of steps by which the clock of a code generator may differ, to either side (RFC 6238 §5.2).
const SKEW: i64 = 1;
/// Number of digits of a code.
pub const CODE_DIGITS: usize = 6;
/// Maximum number of factors of an account.
pub const MAX_FACTORS: usize = 5;
/// How long a factor can be confirmed after it was begun.
pub const CONFIRMED_WITHIN: Duration = Duration::from_secs(15 * 60);
/// Number of recovery codes that are created together.
pub const RECOVERY_CODES: usize = 10;
/// Characters of a shared secret as text (RFC 4648 §6).
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// How long the API tokens of an account without a factor work after it was asked for one.
pub const TOKENS_WORK_FOR: Duration = Duration::from_secs(7 * 86_400);

/// The shared secret of a code generator. It has no `Display` and no `Serialize`, and is wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SharedSecret([u8; SHARED_SECRET_BYTES]);

impl SharedSecret {
    /// Returns a new random secret.
    pub fn generate(random: &dyn Random) -> Self {
        let mut bytes = [0; SHARED_SECRET_BYTES];
        random.fill(&mut bytes);
        Self(bytes)
    }

    /// Reads stored bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Returns the bytes, to seal them.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }

    /// Returns the secret as text for a code generator: base 32 without padding. The caller is responsible for where it
    /// goes.
    pub fn reveal_text(&self) -> String {
        // 20 bytes are 32 digits of 5 bits, so nothing is left over.
        let mut text = String::with_capacity(SHARED_SECRET_BYTES * 8 / 5);
        for chunk in self.0.chunks(5) {
            let bits = chunk.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
            for at in (0..8).rev() {
                text.push(char::from(BASE32[(bits >> (at * 5) & 31) as usize]));
            }
        }
        text
    }

    /// Returns the code of a step (RFC 4226 §5.3).
    fn code_at(&self, step: i64) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.0);
        let tag = hmac::sign(&key, &step.to_be_bytes());
        let tag = tag.as_ref();
        let offset = usize::from(tag.last().copied().unwrap_or_default() & 0xf);
        let bits = tag.iter().skip(offset).take(4).fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        format!("{:06}", (bits & 0x7fff_ffff) % 1_000_000)
    }

    /// Returns the step of a code that is valid at `now`; `None` if the code is wrong, or of a step up to `last_step`,
    /// which was used before.
    pub fn step_of(&self, code: &str, now: Timestamp, last_step: i64) -> Option<i64> {
        let present = now.as_micros().div_euclid(STEP_SECONDS * 1_000_000);
        let mut found = None;
        // Every step is compared, so that the time does not tell which one was right.
        for step in present - SKEW..=present + SKEW {
            let is_right =
                constant_time::verify_slices_are_equal(self.code_at(step).as_bytes(), code.as_bytes())
                    .is_ok();
            if is_right && step > last_step {
                found = Some(step);
            }
        }
        found
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret(…)")
    }
}

/// A recovery code, which replaces one code of a factor: 50 bits.
pub type RecoveryCode = TypedCode<10>;

/// What was typed as a code.
#[derive(Clone, Debug)]
pub enum EnteredCode {
    /// A code of a code generator.
    Generated(String),
    /// A recovery code.
    Recovery(RecoveryCode),
}

impl EnteredCode {
    /// Reads a typed code, with or without spaces and hyphens. Characters of a recovery code that look like others count as
    /// these.
    pub fn parse(text: &str) -> Option<Self> {
        let is_typed = |c: &char| !c.is_whitespace() && *c != '-';
        let digits: String = text.chars().filter(is_typed).take(CODE_DIGITS + 1).collect();
        if digits.len() == CODE_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Some(Self::Generated(digits));
        }
        RecoveryCode::parse(text).map(Self::Recovery)
    }
}

/// Kind of a factor.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FactorKind {
    /// Codes that a device computes from a shared secret and the time.
    Totp,
    /// A key pair of a device or a password manager, which signs for this Console alone (WebAuthn).
    Passkey,
}

impl FactorKind {
    /// Returns the word that is stored and recorded.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Totp => "totp",
            Self::Passkey => "passkey",
        }
    }

    /// Parses the word.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Totp, Self::Passkey].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// For whom passkeys sign: the relying party (WebAuthn §4).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RelyingParty {
    /// Host name of the Console, to which its passkeys belong.
    pub id: String,
    /// Origin of the Console, the only one that answers are accepted from.
    pub origin: Url,
}

impl RelyingParty {
    /// Returns the relying party of the Console at this URL; `None` if no browser offers passkeys there: they need a host
    /// name, and https or this machine.
    pub fn of(console: &str) -> Option<Self> {
        let url = Url::parse(console).ok()?;
        let Some(Host::Domain(host)) = url.host() else { return None };
        // An address with a dot at its end is another host for a browser, and no relying party.
        if host.ends_with('.') || !(url.scheme() == "https" || url.scheme() == "http" && host == "localhost")
        {
            return None;
        }
        let origin = Url::parse(&url.origin().ascii_serialization()).ok()?;
        Some(Self { id: host.to_owned(), origin })
    }
}

/// Whom the instance asks for a second factor.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum AskedFor {
    /// Nobody. Each person can add one.
    #[default]
    Optional,
    /// People with a role that sees secrets.
    SecretRoles,
    /// Every person.
    Everyone,
}

impl AskedFor {
    /// All of them, the weakest first.
    pub const ALL: [Self; 3] = [Self::Optional, Self::SecretRoles, Self::Everyone];

    /// Returns the word that is stored and sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Optional => "optional",
            Self::SecretRoles => "secret_roles",
            Self::Everyone => "everyone",
        }
    }

    /// Parses the word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == text)
    }

    /// Returns whom it asks, as words.
    pub fn title(self) -> &'static str {
        match self {
            Self::Optional => "nobody",
            Self::SecretRoles => "people with a role that sees secrets",
            Self::Everyone => "every person",
        }
    }
}

/// The policy, and since when it asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FactorPolicy {
    /// Whom it asks.
    pub asked_for: AskedFor,
    /// When people were told that it asks for this; `None` if it asks nobody.
    pub told_at: Option<Timestamp>,
    /// Since when it asks people with a role that sees secrets; `None` if it asks nobody.
    pub secret_roles_told_at: Option<Timestamp>,
}

impl FactorPolicy {
    /// Returns the policy after it was set. People who were asked before stay asked since then.
    pub fn set(self, asked_for: AskedFor, now: Timestamp) -> Self {
        if asked_for == self.asked_for {
            return self;
        }
        let secret_roles = self.secret_roles_told_at.or(Some(now));
        let (told_at, secret_roles_told_at) = match asked_for {
            AskedFor::Optional => (None, None),
            AskedFor::SecretRoles => (secret_roles, secret_roles),
            AskedFor::Everyone => (Some(now), secret_roles),
        };
        Self { asked_for, told_at, secret_roles_told_at }
    }

    /// Returns since when an account is asked for a second factor; `None` if it is not. A program is never asked: its
    /// tokens can be limited to networks and have an end.
    pub fn asked_since(&self, account: &Asked) -> Option<Timestamp> {
        if account.kind == UserKind::Program {
            return None;
        }
        let as_everyone = || Some(self.told_at?.max(account.created_at));
        let as_secret_role = || Some(self.secret_roles_told_at?.max(account.sees_secrets_since?));
        match self.asked_for {
            AskedFor::Optional => None,
            AskedFor::SecretRoles => as_secret_role(),
            AskedFor::Everyone => match (as_everyone(), as_secret_role()) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            },
        }
    }
}

/// What decides whether an account is asked for a second factor.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Person or program.
    pub kind: UserKind,
    /// When it was created.
    pub created_at: Timestamp,
    /// When the first of its present roles that see secrets was granted; `None` if it has none.
    pub sees_secrets_since: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A generator of bytes that repeat from a start.
    struct From(u8);

    impl Random for From {
        fn fill(&self, bytes: &mut [u8]) {
            for (at, byte) in bytes.iter_mut().enumerate() {
                *byte = self.0.wrapping_add(at as u8 * 7);
            }
        }
    }

    fn seconds(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    /// The vectors of RFC 6238, appendix B, in 6 digits.
    #[test]
    fn codes_are_those_of_the_standard() {
        let secret = SharedSecret::from_bytes(b"12345678901234567890").unwrap();
        assert_eq!(secret.reveal_text(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        for (at, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(secret.step_of(code, seconds(at), 0), Some(at / 30), "{at}");
        }
    }

    #[test]
    fn a_code_is_valid_for_one_step_to_either_side() {
        let secret = SharedSecret::generate(&From(3));
        let code = secret.code_at(1000);
        for (step, is_valid) in [(998, false), (999, true), (1000, true), (1001, true), (1002, false)] {
            for second in [0, 29] {
                let found = secret.step_of(&code, seconds(step * 30 + second), 0);
                assert_eq!(found, is_valid.then_some(1000), "{step} {second}");
            }
        }
        assert_eq!(secret.step_of("", seconds(30_000), 0), None);
    }

    #[test]
    fn a_code_up_to_the_last_one_is_never_valid_again() {
        let secret = SharedSecret::generate(&From(3));
        let now = seconds(30_000);
        for step in 999..=1001 {
            let code = secret.code_at(step);
            assert_eq!(secret.step_of(&code, now, step - 1), Some(step));
            assert_eq!(secret.step_of(&code, now, step), None);
            assert_eq!(secret.step_of(&code, now, step + 1), None);
        }
    }

    #[test]
    fn what_was_typed_is_read_whatever_its_form() {
        let code = RecoveryCode::generate(&From(9));
        for typed in
            [code.reveal_grouped(), code.reveal_grouped().to_lowercase(), format!(" {} ", code.reveal())]
        {
            let Some(EnteredCode::Recovery(read)) = EnteredCode::parse(&typed) else { panic!("{typed}") };
            assert_eq!(read.reveal(), code.reveal());
        }
        for typed in ["123456", "123 456", " 123-456"] {
            let Some(EnteredCode::Generated(read)) = EnteredCode::parse(typed) else { panic!("{typed}") };
            assert_eq!(read, "123456");
        }
        for wrong in
            ["", "12345", "1234567", "12345a", "ABCDE-FGHJ", "ABCDE-FGHJKM", "ABCDE-FGHJU", "１２３４５６"]
        {
            assert!(EnteredCode::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn passkeys_belong_to_a_host_name_with_https_or_to_this_machine() {
        for (console, id, origin) in [
            ("https://auth.example.com", "auth.example.com", "https://auth.example.com/"),
            ("https://auth.example.com:8443/below", "auth.example.com", "https://auth.example.com:8443/"),
            ("https://AUTH.example.com", "auth.example.com", "https://auth.example.com/"),
            ("https://localhost:1234", "localhost", "https://localhost:1234/"),
            ("http://localhost:8080", "localhost", "http://localhost:8080/"),
        ] {
            let party = RelyingParty::of(console).unwrap();
            assert_eq!((party.id.as_str(), party.origin.as_str()), (id, origin), "{console}");
        }
        for console in [
            "http://auth.example.com",
            "http://127.0.0.1:8080",
            "https://192.0.2.1",
            "https://[::1]",
            "https://auth.example.com.",
            "http://localhost.example.com",
            "http://app.localhost",
            "auth.example.com",
            "",
        ] {
            assert_eq!(RelyingParty::of(console), None, "{console}");
        }
    }

    #[test]
    fn no_value_is_shown_by_accident() {
        assert_eq!(format!("{:?}", SharedSecret::generate(&From(1))), "SharedSecret(…)");
    }

    fn person(created_at: i64, sees_secrets_since: Option<i64>) -> Asked {
        Asked {
            kind: UserKind::Person,
            created_at: seconds(created_at),
            sees_secrets_since: sees_secrets_since.map(seconds),
        }
    }

    #[test]
    fn people_are_asked_since_the_policy_reached_them() {
        let none = FactorPolicy::default();
        let roles = none.set(AskedFor::SecretRoles, seconds(100));
        let all = roles.set(AskedFor::Everyone, seconds(200));
        for (policy, account, since) in [
            (none, person(1, Some(1)), None),
            (roles, person(1, None), None),
            (roles, person(1, Some(1)), Some(100)),
            (roles, person(1, Some(150)), Some(150)),
            (all, person(1, None), Some(200)),
            (all, person(250, None), Some(250)),
            // Asked earlier already.
            (all, person(1, Some(1)), Some(100)),
            (all, person(1, Some(500)), Some(200)),
        ] {
            assert_eq!(policy.asked_since(&account), since.map(seconds), "{policy:?} {account:?}");
            let program = Asked { kind: UserKind::Program, ..account };
            assert_eq!(policy.asked_since(&program), None);
        }
    }

    #[test]
    fn a_lower_policy_keeps_the_time_of_those_it_still_asks() {
        let all = FactorPolicy::default().set(AskedFor::Everyone, seconds(100));
        let roles = all.set(AskedFor::SecretRoles, seconds(200));
        assert_eq!(roles.asked_since(&person(1, Some(1))), Some(seconds(100)));
        assert_eq!(roles.set(AskedFor::SecretRoles, seconds(300)), roles, "nothing was changed");
        let none = roles.set(AskedFor::Optional, seconds(300));
        assert_eq!(none, FactorPolicy::default());
        let again = none.set(AskedFor::SecretRoles, seconds(400));
        assert_eq!(again.asked_since(&person(1, Some(1))), Some(seconds(400)));
    }

    #[test]
    fn each_word_names_one_policy() {
        for it in AskedFor::ALL {
            assert_eq!(AskedFor::parse(it.as_str()), Some(it));
        }
        assert_eq!(AskedFor::parse("nobody"), None);
        for kind in [FactorKind::Totp, FactorKind::Passkey] {
            assert_eq!(FactorKind::parse(kind.as_str()), Some(kind));
        }
    }
}
