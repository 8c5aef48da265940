//! What the claims of an ID token (OpenID Connect Core §3.1.3.7) and of a logout token (Back-Channel Logout §2.6) must be. The
//! signature is verified before.

use super::MAX_NAME;
use crate::Timestamp;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use serde_json::{Map, Value};
use std::time::Duration;

/// Difference between the clocks of a provider and of Crossfade that is tolerated.
const LEEWAY: Duration = Duration::from_secs(5 * 60);
/// How old a logout token can be, beyond the leeway.
const LOGOUT_WITHIN: Duration = Duration::from_secs(5 * 60);
/// How old the authentication that confirms a session can be.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(5 * 60);
/// How much longer than the request took an authentication can have been, because providers round to seconds and need a
/// moment to write a token.
const ROUNDING: Duration = Duration::from_secs(10);
/// The event of a logout token.
const LOGOUT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// Maximum number of groups that are read.
const MAX_GROUPS: usize = 1000;

macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $name:ident = $word:literal;)+) => {
        /// Why a token of a provider is refused.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum TokenFault { $($(#[doc = $doc])+ $name,)+ }

        impl TokenFault {
            /// All faults.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Returns the word for the audit trail.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }

            /// Returns what is wrong, as a sentence.
            pub fn sentence(self) -> &'static str {
                match self { $(Self::$name => str::trim_start(concat!($($doc),+)),)+ }
            }
        }
    };
}

faults! {
    /// The token is not a signed JSON Web Token.
    Malformed = "token_malformed";
    /// The token is signed with an algorithm that is not accepted.
    Algorithm = "token_algorithm";
    /// The token names a key that the provider does not publish.
    UnknownKey = "token_unknown_key";
    /// The signature of the token is wrong.
    Signature = "token_signature";
    /// The token is of another issuer.
    Issuer = "token_issuer";
    /// The token is for another client.
    Audience = "token_audience";
    /// The token has expired, or has no time of expiry. Check the clocks of both servers.
    Expired = "token_expired";
    /// The token was issued in the future or too long ago. Check the clocks of both servers.
    IssuedAt = "token_issued_at";
    /// The token belongs to another sign-in.
    Nonce = "token_nonce";
    /// The token names no subject.
    Subject = "token_subject";
    /// The token does not belong to the access token.
    AccessToken = "token_access_token";
    /// The token says that you authenticated in another way than the provider was asked for.
    Acr = "token_acr";
    /// The token does not say that you authenticated again just now.
    NotFresh = "token_not_fresh";
    /// The token does not list your groups, because there are too many.
    Groups = "token_groups";
    /// The token is not a logout token.
    NotLogout = "token_not_logout";
}

/// What a token must match.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Issuer, exactly.
    pub issuer: &'a str,
    /// `client_id` of Crossfade at the provider.
    pub client_id: &'a str,
    /// Time of the check.
    pub now: Timestamp,
}

/// The claims of an ID token that are used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdToken {
    /// Subject: who it is at the provider.
    pub subject: String,
    /// Session at the provider.
    pub sid: Option<String>,
    /// When the provider issued the token.
    pub issued_at: Timestamp,
    /// When the person authenticated.
    pub auth_time: Option<Timestamp>,
    /// How the person authenticated.
    pub acr: Option<String>,
}

/// The claims of a logout token that are used. One of `subject` and `sid` is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogoutToken {
    /// Subject whose sessions end.
    pub subject: Option<String>,
    /// Session at the provider that ends.
    pub sid: Option<String>,
    /// ID of the token.
    pub jti: String,
    /// Until when the token could be accepted.
    pub until: Timestamp,
}

/// Reads an ID token whose signature was verified. `nonce` is what the provider was asked with.
pub fn read_id_token(
    claims: &Map<String, Value>,
    expected: Expected<'_>,
    nonce: &str,
) -> Result<IdToken, TokenFault> {
    let issued_at = check(claims, expected)?;
    let expires_at = time(claims, "exp").ok_or(TokenFault::Expired)?;
    if expires_at.after(LEEWAY) <= expected.now {
        return Err(TokenFault::Expired);
    }
    let has_nonce = text(claims, "nonce")
        .is_some_and(|own| verify_slices_are_equal(own.as_bytes(), nonce.as_bytes()).is_ok());
    if !has_nonce {
        return Err(TokenFault::Nonce);
    }
    Ok(IdToken {
        subject: short(claims, "sub").ok_or(TokenFault::Subject)?,
        sid: short(claims, "sid"),
        issued_at,
        auth_time: time(claims, "auth_time"),
        acr: text(claims, "acr").map(str::to_owned),
    })
}

/// Reads a logout token whose signature was verified.
pub fn read_logout_token(
    claims: &Map<String, Value>,
    expected: Expected<'_>,
) -> Result<LogoutToken, TokenFault> {
    let issued_at = check(claims, expected)?;
    let until = issued_at.after(LOGOUT_WITHIN).after(LEEWAY);
    let is_expired = match claims.get("exp") {
        None => false,
        Some(_) => time(claims, "exp").is_none_or(|expires_at| expires_at.after(LEEWAY) <= expected.now),
    };
    if is_expired || until <= expected.now {
        return Err(TokenFault::Expired);
    }
    let is_event = claims.get("events").and_then(|events| events.get(LOGOUT)).is_some_and(Value::is_object);
    // A token with a nonce could be an ID token that was sent here.
    if !is_event || claims.contains_key("nonce") {
        return Err(TokenFault::NotLogout);
    }
    let (subject, sid) = (short(claims, "sub"), short(claims, "sid"));
    let is_odd = |name: &str, read: &Option<String>| claims.contains_key(name) && read.is_none();
    if subject.is_none() && sid.is_none() || is_odd("sub", &subject) || is_odd("sid", &sid) {
        return Err(TokenFault::Subject);
    }
    Ok(LogoutToken { subject, sid, jti: short(claims, "jti").ok_or(TokenFault::NotLogout)?, until })
}

/// Whether an ID token proves that its person authenticated again for a request that was sent at `asked_at`. By the clock
/// of the provider alone, the authentication is no older than the request; by both clocks, it is a few minutes old at most.
pub fn is_fresh(token: &IdToken, asked_at: Timestamp, now: Timestamp) -> bool {
    let Some(auth_time) = token.auth_time else { return false };
    let took = now.since(asked_at);
    let age_when_issued = token.issued_at.since(auth_time);
    age_when_issued <= took + ROUNDING
        && auth_time.after(LEEWAY) >= asked_at
        && auth_time.after(CONFIRMED_WITHIN).after(LEEWAY) > now
        && auth_time <= now.after(LEEWAY)
}

/// Returns the groups in a claim; `None` if the claim is missing. A dot in the name leads into an object, unless a claim has
/// the whole name.
pub fn groups_in(claims: &Map<String, Value>, name: &str) -> Result<Option<Vec<String>>, TokenFault> {
    // What Entra ID sends instead of more than 200 groups: roles must not be removed because a list was left out.
    let is_left_out = claims.get("_claim_names").is_some_and(|names| names.get(name).is_some());
    if is_left_out {
        return Err(TokenFault::Groups);
    }
    let mut found = claims.get(name);
    if found.is_none() {
        let mut parts = name.split('.');
        found = parts.next().and_then(|first| claims.get(first)).filter(|_| name.contains('.'));
        for part in parts {
            found = found.and_then(|value| value.get(part));
        }
    }
    match found {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(one)) => Ok(Some(vec![one.clone()])),
        Some(Value::Array(list)) if list.len() <= MAX_GROUPS => {
            let group = |value: &Value| value.as_str().map(str::to_owned).ok_or(TokenFault::Malformed);
            list.iter().map(group).collect::<Result<_, _>>().map(Some)
        }
        Some(Value::Array(_)) => Err(TokenFault::Groups),
        Some(_) => Err(TokenFault::Malformed),
    }
}

/// Checks what both kinds of tokens share. Returns when the token was issued.
fn check(claims: &Map<String, Value>, expected: Expected<'_>) -> Result<Timestamp, TokenFault> {
    if text(claims, "iss") != Some(expected.issuer) {
        return Err(TokenFault::Issuer);
    }
    let audiences: Vec<&str> = match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(list)) => {
            list.iter().map(Value::as_str).collect::<Option<_>>().ok_or(TokenFault::Audience)?
        }
        _ => return Err(TokenFault::Audience),
    };
    let party = match claims.get("azp") {
        None => None,
        Some(party) => Some(party.as_str().ok_or(TokenFault::Audience)?),
    };
    let is_for_us = audiences.contains(&expected.client_id)
        && party.is_none_or(|party| party == expected.client_id)
        && (audiences.len() == 1 || party.is_some());
    if !is_for_us {
        return Err(TokenFault::Audience);
    }
    let issued_at = time(claims, "iat").ok_or(TokenFault::IssuedAt)?;
    match issued_at <= expected.now.after(LEEWAY) {
        true => Ok(issued_at),
        false => Err(TokenFault::IssuedAt),
    }
}

fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    claims.get(name)?.as_str()
}

/// Returns a text of 1 to 255 bytes.
fn short(claims: &Map<String, Value>, name: &str) -> Option<String> {
    text(claims, name).filter(|text| (1..=MAX_NAME).contains(&text.len())).map(str::to_owned)
}

/// Returns a time, which can have fractions of a second (RFC 7519 §2).
fn time(claims: &Map<String, Value>, name: &str) -> Option<Timestamp> {
    /// Seconds of the year 9999.
    const LATEST: f64 = 253_402_300_800.0;
    let seconds = claims.get(name)?.as_f64()?;
    (0.0..LATEST).contains(&seconds).then(|| Timestamp::from_micros((seconds * 1e6) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: i64 = 1_795_525_500;

    fn expected() -> Expected<'static> {
        Expected { issuer: "https://id.example", client_id: "crossfade", now: Timestamp::from_seconds(NOW) }
    }

    fn claims(changes: Value) -> Map<String, Value> {
        let mut claims = json!({
            "iss": "https://id.example", "aud": "crossfade", "sub": "ada", "nonce": "n", "iat": NOW, "exp": NOW + 300,
        });
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        claims.as_object().unwrap().clone()
    }

    fn id_token(changes: Value) -> Result<IdToken, TokenFault> {
        read_id_token(&claims(changes), expected(), "n")
    }

    #[test]
    fn an_id_token_is_read_as_core_3_1_3_7_says() {
        let read = id_token(json!({"auth_time": NOW - 5, "sid": "s", "acr": "mfa"})).unwrap();
        assert_eq!(
            (read.subject.as_str(), read.sid.as_deref(), read.acr.as_deref()),
            ("ada", Some("s"), Some("mfa"))
        );
        assert_eq!(read.auth_time, Some(Timestamp::from_seconds(NOW - 5)));
        for good in [
            json!({"aud": ["crossfade"]}),
            json!({"aud": ["other", "crossfade"], "azp": "crossfade"}),
            json!({"azp": "crossfade"}),
            json!({"exp": NOW - 299}),
            json!({"iat": NOW + 300, "exp": NOW + 600}),
            json!({"iat": NOW as f64 + 0.5}),
        ] {
            assert!(id_token(good.clone()).is_ok(), "{good}");
        }
    }

    #[test]
    fn every_wrong_claim_refuses_an_id_token() {
        let long = "x".repeat(256);
        for (changes, fault) in [
            (json!({"iss": "https://id.example/"}), TokenFault::Issuer),
            (json!({"iss": null}), TokenFault::Issuer),
            (json!({"iss": ["https://id.example"]}), TokenFault::Issuer),
            (json!({"aud": "other"}), TokenFault::Audience),
            (json!({"aud": []}), TokenFault::Audience),
            (json!({"aud": ["crossfade", 1]}), TokenFault::Audience),
            (json!({"aud": null}), TokenFault::Audience),
            (json!({"aud": ["crossfade", "other"]}), TokenFault::Audience),
            (json!({"aud": ["crossfade", "other"], "azp": "other"}), TokenFault::Audience),
            (json!({"azp": "other"}), TokenFault::Audience),
            (json!({"azp": 1}), TokenFault::Audience),
            (json!({"exp": NOW - 300}), TokenFault::Expired),
            (json!({"exp": null}), TokenFault::Expired),
            (json!({"exp": "never"}), TokenFault::Expired),
            (json!({"exp": 1e300}), TokenFault::Expired),
            (json!({"iat": NOW + 301}), TokenFault::IssuedAt),
            (json!({"iat": null}), TokenFault::IssuedAt),
            (json!({"nonce": "m"}), TokenFault::Nonce),
            (json!({"nonce": ""}), TokenFault::Nonce),
            (json!({"nonce": null}), TokenFault::Nonce),
            (json!({"sub": null}), TokenFault::Subject),
            (json!({"sub": ""}), TokenFault::Subject),
            (json!({"sub": 7}), TokenFault::Subject),
            (json!({"sub": long}), TokenFault::Subject),
        ] {
            assert_eq!(id_token(changes.clone()), Err(fault), "{changes}");
        }
    }

    fn logout(changes: Value) -> Result<LogoutToken, TokenFault> {
        let mut base = json!({"nonce": null, "jti": "j", "events": {LOGOUT: {}}});
        base.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        read_logout_token(&claims(base), expected())
    }

    #[test]
    fn a_logout_token_is_read_as_back_channel_logout_2_6_says() {
        assert_eq!(logout(json!({})).unwrap().subject.as_deref(), Some("ada"));
        let by_sid = logout(json!({"sub": null, "sid": "s", "exp": null})).unwrap();
        assert_eq!((by_sid.subject, by_sid.sid.as_deref()), (None, Some("s")));
        for (changes, fault) in [
            (json!({"sub": null}), TokenFault::Subject),
            (json!({"sid": 7}), TokenFault::Subject),
            (json!({"nonce": "n"}), TokenFault::NotLogout),
            (json!({"events": null}), TokenFault::NotLogout),
            (json!({"events": {LOGOUT: true}}), TokenFault::NotLogout),
            (json!({"events": {"other": {}}}), TokenFault::NotLogout),
            (json!({"events": [LOGOUT]}), TokenFault::NotLogout),
            (json!({"jti": null}), TokenFault::NotLogout),
            (json!({"iss": "x"}), TokenFault::Issuer),
            (json!({"aud": "x"}), TokenFault::Audience),
            (json!({"exp": NOW - 300}), TokenFault::Expired),
            (json!({"exp": "x"}), TokenFault::Expired),
            (json!({"iat": NOW - 600, "exp": null}), TokenFault::Expired),
            (json!({"iat": NOW - 600}), TokenFault::Expired),
            (json!({"iat": NOW + 301}), TokenFault::IssuedAt),
        ] {
            assert_eq!(logout(changes.clone()), Err(fault), "{changes}");
        }
    }

    #[test]
    fn only_an_authentication_after_the_request_confirms_a_session() {
        let asked = NOW - 60;
        let fresh = |auth_time: Option<i64>, issued: i64| {
            let token = IdToken {
                subject: "ada".into(),
                sid: None,
                issued_at: Timestamp::from_seconds(issued),
                auth_time: auth_time.map(Timestamp::from_seconds),
                acr: None,
            };
            is_fresh(&token, Timestamp::from_seconds(asked), Timestamp::from_seconds(NOW))
        };
        assert!(fresh(Some(NOW - 10), NOW));
        assert!(fresh(Some(asked), NOW));
        // The clock of the provider is five minutes ahead, or behind.
        assert!(fresh(Some(NOW - 10 + 300), NOW + 300) && fresh(Some(NOW - 10 - 290), NOW - 290));
        assert!(!fresh(None, NOW), "no auth_time");
        assert!(!fresh(Some(asked - 11), NOW), "before the request, by the clock of the provider");
        assert!(!fresh(Some(asked - 301), asked - 301), "before the request, by both clocks");
        assert!(!fresh(Some(NOW - 3600), NOW), "an hour ago");
        assert!(!fresh(Some(NOW + 301), NOW + 301), "in the future");
    }

    #[test]
    fn groups_are_read_from_a_claim_or_from_inside_one() {
        let all = claims(json!({
            "groups": ["a", "b"], "realm_access": {"roles": ["c"]}, "https://id.example/groups": "d", "odd": 7, "mixed": ["a", 7],
        }));
        let read = |name: &str| groups_in(&all, name);
        assert_eq!(read("groups").unwrap().unwrap(), ["a", "b"]);
        assert_eq!(read("realm_access.roles").unwrap().unwrap(), ["c"]);
        assert_eq!(read("https://id.example/groups").unwrap().unwrap(), ["d"]);
        assert_eq!(read("none"), Ok(None));
        assert_eq!(read("groups.inner"), Ok(None));
        assert_eq!((read("odd"), read("mixed")), (Err(TokenFault::Malformed), Err(TokenFault::Malformed)));
        let many = claims(json!({"_claim_names": {"groups": "src1"}}));
        assert_eq!(groups_in(&many, "groups"), Err(TokenFault::Groups));
        let long = claims(json!({"groups": vec!["x"; MAX_GROUPS + 1]}));
        assert_eq!(groups_in(&long, "groups"), Err(TokenFault::Groups));
    }
}
