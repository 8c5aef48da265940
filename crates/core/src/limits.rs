//! Limits for the audiences and scopes of a property's clients in an environment. The manager of a client sets its
//! audience and scopes; people who manage environments set these limits.

use crate::{
    Problem,
    registration::{Scopes, audience},
};
use url::Url;

/// Advice in refusals by limits.
const CHANGE_LIMITS: &str = "Ask someone who manages environments to change the limits.";
/// Maximum number of audiences in limits.
pub const MAX_AUDIENCES: usize = 100;

/// Audiences and scopes that registrations can have. Without limits: any scope, and only the issuer as audience.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// Audiences besides the issuer of the environment, which is always allowed.
    pub audiences: Vec<String>,
    /// `None`: any scope.
    pub scopes: Option<Scopes>,
}

impl Limits {
    /// Reads limits. No issuer of the server at `public_url` is an audience.
    pub fn parse(audiences: &[String], scopes: Option<&[String]>, public_url: &str) -> Result<Self, Problem> {
        if audiences.len() > MAX_AUDIENCES {
            return Err(Problem::invalid(
                "audiences",
                &format!("must contain at most {MAX_AUDIENCES} entries"),
            ));
        }
        let mut unique = Vec::new();
        for text in audiences {
            let one = audience(text).map_err(|_| {
                let what = "must contain audiences of 1 to 500 visible ASCII characters, without spaces, \
                    quotes or backslashes";
                Problem::invalid("audiences", what)
            })?;
            if is_issuer_address(&one, public_url) {
                let what = format!(
                    "must not contain {one}, because an issuer of this server is an audience only in its own \
                    environment, where it needs no entry"
                );
                return Err(Problem::invalid("audiences", &what));
            }
            if !unique.contains(&one) {
                unique.push(one);
            }
        }
        Ok(Self { audiences: unique, scopes: scopes.map(Scopes::parse).transpose()? })
    }

    /// Checks a new audience of a registration in the environment of `issuer`.
    pub fn check_audience(&self, audience: &str, issuer: &str, public_url: &str) -> Result<(), Problem> {
        if audience == issuer {
            return Ok(());
        }
        if is_issuer_address(audience, public_url) {
            let what = "must not be another issuer of this server, or its own issuer spelled differently";
            return Err(Problem::invalid("audience", what).advise(&format!("Set {issuer} or null.")));
        }
        if self.audiences.iter().any(|allowed| allowed == audience) {
            return Ok(());
        }
        let allowed: Vec<&str> =
            [issuer].into_iter().chain(self.audiences.iter().map(String::as_str)).collect();
        let what = format!(
            "must be one of {}, because the limits of this property in this environment allow no other",
            allowed.join(", ")
        );
        Err(Problem::invalid("audience", &what).advise(CHANGE_LIMITS))
    }

    /// Checks new scopes of a registration.
    pub fn check_scopes(&self, scopes: &Scopes) -> Result<(), Problem> {
        let Some(allowed) = &self.scopes else { return Ok(()) };
        let beyond: Vec<&str> =
            scopes.iter().filter(|scope| !allowed.iter().any(|allowed| allowed == *scope)).collect();
        if beyond.is_empty() {
            return Ok(());
        }
        let what = format!(
            "must not contain {}, because the limits of this property in this environment allow {}",
            beyond.join(", "),
            if allowed.joined().is_empty() {
                "none".to_owned()
            } else {
                format!("only {}", allowed.joined())
            }
        );
        Err(Problem::invalid("scopes", &what).advise(CHANGE_LIMITS))
    }
}

/// Whether an audience is in the address space of the issuers of the server at `public_url`, in any spelling. A
/// resource server that normalises addresses would mistake such a token for its own.
pub fn is_issuer_address(text: &str, public_url: &str) -> bool {
    let Ok(own) = Url::parse(public_url) else { return false };
    // Also without a scheme, which some resource servers add.
    let with_scheme = format!("https://{}", text.trim_start_matches('/'));
    [text, with_scheme.as_str()].iter().filter_map(|text| Url::parse(text).ok()).any(|url| {
        is_same_server(&url, &own) && segments(url.path()).first().is_some_and(|first| first == "env")
    })
}

fn is_same_server(url: &Url, own: &Url) -> bool {
    let host = |url: &Url| {
        // The host of an unknown scheme is left as it is written.
        let host = decoded(url.host_str().unwrap_or_default()).to_ascii_lowercase();
        host.trim_end_matches('.').to_owned()
    };
    let ports = (url.port_or_known_default(), own.port_or_known_default());
    let both_default = url.port().is_none() && own.port().is_none();
    url.host().is_some() && host(url) == host(own) && (ports.0 == ports.1 || both_default)
}

/// Returns the segments of a path in lower case, without percent-encoding and dot segments.
fn segments(path: &str) -> Vec<String> {
    let mut segments: Vec<String> = Vec::new();
    for segment in decoded(path).to_ascii_lowercase().split(['/', '\\']) {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            // A path parameter names no other resource.
            name => segments.push(name.split(';').next().unwrap_or_default().to_owned()),
        }
    }
    segments
}

/// Returns the text without percent-encoding, even if it was encoded twice.
fn decoded(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    // Each round shortens the text, so that this ends.
    loop {
        let mut out = Vec::with_capacity(bytes.len());
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            let digit = |n: usize| bytes.get(at + n).and_then(|byte| char::from(*byte).to_digit(16));
            match (byte, digit(1), digit(2)) {
                (b'%', Some(high), Some(low)) => {
                    out.push(u8::try_from(high * 16 + low).unwrap_or_default());
                    at += 3;
                }
                _ => {
                    out.push(*byte);
                    at += 1;
                }
            }
        }
        if out.len() == bytes.len() {
            return String::from_utf8_lossy(&out).into_owned();
        }
        bytes = out;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SERVER: &str = "https://auth.example.com";
    const ISSUER: &str = "https://auth.example.com/env/staging";

    fn limits(audiences: &[&str], scopes: Option<&[&str]>) -> Result<Limits, Problem> {
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Limits::parse(&list(audiences), scopes.map(list).as_deref(), SERVER)
    }

    fn scopes(list: &[&str]) -> Scopes {
        Scopes::parse(&list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn none_set_allows_any_scope_and_the_issuer_alone() {
        let none = Limits::default();
        assert_eq!(none.check_scopes(&scopes(&["admin", "read"])), Ok(()));
        assert_eq!(none.check_audience(ISSUER, ISSUER, SERVER), Ok(()));
        let problem = none.check_audience("https://api.example.com", ISSUER, SERVER).unwrap_err();
        assert_eq!(problem.field.as_deref(), Some("audience"));
        assert!(problem.detail.contains(ISSUER), "{problem}");
    }

    #[test]
    fn set_limits_allow_what_they_name_beside_the_issuer() {
        let set = limits(&["https://api.example.com", "billing"], Some(&["read", "write"])).unwrap();
        for audience in [ISSUER, "https://api.example.com", "billing"] {
            assert_eq!(set.check_audience(audience, ISSUER, SERVER), Ok(()), "{audience}");
        }
        for audience in ["https://api.example.com/", "https://API.example.com", "Billing", "bill"] {
            assert!(set.check_audience(audience, ISSUER, SERVER).is_err(), "{audience}");
        }
        assert_eq!(set.check_scopes(&scopes(&["write"])), Ok(()));
        assert_eq!(set.check_scopes(&scopes(&[])), Ok(()));
        let problem = set.check_scopes(&scopes(&["read", "admin"])).unwrap_err();
        assert!(problem.detail.contains("admin") && problem.detail.contains("read write"), "{problem}");
        assert!(limits(&[], Some(&[])).unwrap().check_scopes(&scopes(&["read"])).is_err());
    }

    #[test]
    fn an_issuer_of_this_server_is_no_audience_in_any_spelling() {
        let everything = limits(&["https://api.example.com"], None).unwrap();
        for spelling in [
            "https://auth.example.com/env/production",
            "https://auth.example.com/env/production/",
            "https://auth.example.com/env/staging/",
            "https://AUTH.Example.com/env/production",
            "HTTPS://auth.example.com/env/production",
            "http://auth.example.com/env/production",
            "https://auth.example.com:443/env/production",
            "https://auth.example.com./env/production",
            "https://user@auth.example.com/env/production",
            "https://auth.example.com/env/%70roduction",
            "https://auth.example.com/%65nv/production",
            "https://auth.example.com/env%2fproduction",
            "https://auth.example.com/env%252Fproduction",
            "https://auth.example.com//env//production",
            "https://auth.example.com/./x/../env/production",
            "https://auth.example.com/x/%2e%2e/env/production",
            "https://auth.example.com/ENV/Production",
            "https://auth.example.com/env;a=b/production",
            "https://auth.example.com/env/production?x=1",
            "https://auth.example.com/env/production#x",
            "https://auth.example.com/env/production/oauth2/token",
            "https://auth.example.com/env/not-yet",
            "https://%61uth.example.com/env/production",
            "auth.example.com/env/production",
            "//auth.example.com/env/production",
            "auth.example.com:443/env/production",
            "foo://auth.example.com/env/production",
        ] {
            assert!(is_issuer_address(spelling, SERVER), "{spelling}");
            let refused = everything.check_audience(spelling, ISSUER, SERVER).unwrap_err();
            assert!(refused.detail.contains("another issuer of this server"), "{spelling}: {refused}");
            let refused = limits(&[spelling], None).unwrap_err();
            assert_eq!(refused.field.as_deref(), Some("audiences"), "{spelling}");
        }
        for other in [
            "https://auth.example.com",
            "https://auth.example.com/",
            "https://auth.example.com/environment",
            "https://auth.example.com:8443/env/production",
            "https://api.example.com/env/production",
            "https://auth.example.com.evil.example/env/production",
            "https://api.example.com/?to=https://auth.example.com/env/production",
            "urn:example:env:production",
            "production",
            "env/production",
        ] {
            assert!(!is_issuer_address(other, SERVER), "{other}");
        }
        assert!(is_issuer_address("http://LOCALHOST:8080/env/a", "http://localhost:8080"));
        assert!(is_issuer_address("http://127.0.0.1:8080/env/a", "http://127.1:8080"));
        assert!(!is_issuer_address("http://localhost/env/a", "http://localhost:8080"));
    }

    proptest! {
        #[test]
        fn any_text_is_judged_without_a_panic(text in "[ -~]{0,60}") {
            is_issuer_address(&text, SERVER);
            is_issuer_address(&format!("https://auth.example.com/{text}"), SERVER);
        }
    }
}
