//! Which headers pass. Everything that is not named here stays behind.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, ACCESS_CONTROL_REQUEST_HEADERS,
        ACCESS_CONTROL_REQUEST_METHOD, CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_TYPE, EXPIRES, ORIGIN,
        PRAGMA, RETRY_AFTER, USER_AGENT, VARY, VIA, WWW_AUTHENTICATE,
    },
};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const DPOP: HeaderName = HeaderName::from_static("dpop");

/// Headers of a caller that the issuer gets.
const TO_ISSUER: [HeaderName; 4] = [ACCEPT, ACCEPT_LANGUAGE, USER_AGENT, TRACEPARENT];

/// Headers of an answer that the caller gets.
const TO_CALLER: [HeaderName; 9] = [
    CONTENT_TYPE,
    CONTENT_LANGUAGE,
    CACHE_CONTROL,
    EXPIRES,
    PRAGMA,
    RETRY_AFTER,
    VARY,
    WWW_AUTHENTICATE,
    HeaderName::from_static("dpop-nonce"),
];

/// Beginnings of names of headers that the caller gets, too: rules for browsers, and limits.
const TO_CALLER_BEGIN: [&str; 4] = ["access-control-", "ratelimit", "x-ratelimit-", "x-rate-limit-"];

/// Names under which issuers give the ID of a request.
const REQUEST_IDS: [&str; 6] = [
    "request-id",
    "x-request-id",
    "x-correlation-id",
    "x-okta-request-id",
    "x-ms-request-id",
    "x-auth0-requestid",
];

/// Returns the headers of a forwarded request. `further`: names that pass besides the usual ones. `passes_dpop`: whether the
/// proof of a caller is for this URL (RFC 9449 §4.3).
pub(super) fn to_issuer(
    caller: &HeaderMap,
    further: &[String],
    passes_dpop: bool,
    via: &HeaderValue,
) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(12);
    let further = further.iter().filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok());
    let further = further.filter(|name| !TO_ISSUER.contains(name));
    let names = TO_ISSUER.into_iter().chain(passes_dpop.then_some(DPOP)).chain(further);
    for name in names {
        for value in caller.get_all(&name) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    // An answer is read here, too.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    for value in caller.get_all(VIA) {
        headers.append(VIA, value.clone());
    }
    headers.append(VIA, via.clone());
    headers
}

/// Returns the headers of a request that is passed on as it is. The issuer also decides which pages may read its answers.
pub(super) fn to_issuer_as_is(
    caller: &HeaderMap,
    further: &[String],
    passes_dpop: bool,
    via: &HeaderValue,
) -> HeaderMap {
    let mut headers = to_issuer(caller, further, passes_dpop, via);
    for name in [ORIGIN, ACCESS_CONTROL_REQUEST_METHOD, ACCESS_CONTROL_REQUEST_HEADERS] {
        headers.remove(&name);
        for value in caller.get_all(&name) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers
}

/// Returns the headers of an answer that the caller gets.
pub(super) fn to_caller(issuer: &HeaderMap) -> HeaderMap {
    let passes = |name: &HeaderName| {
        let text = name.as_str();
        TO_CALLER.contains(name)
            || REQUEST_IDS.contains(&text)
            || TO_CALLER_BEGIN.iter().any(|begin| text.starts_with(begin))
    };
    let passing = issuer.iter().filter(|(name, _)| passes(name));
    passing.map(|(name, value)| (name.clone(), value.clone())).collect::<Vec<_>>().into_iter().fold(
        HeaderMap::new(),
        |mut headers, (name, value)| {
            headers.append(name, value);
            headers
        },
    )
}

/// Whether a request was already forwarded by this door.
pub(super) fn has_passed(caller: &HeaderMap, pseudonym: &str) -> bool {
    let hops = caller.get_all(VIA).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    // "1.1 name", perhaps with a comment behind it (RFC 9110 §7.6.3).
    let mut by = hops.filter_map(|hop| hop.trim_ascii().split(u8::is_ascii_whitespace).nth(1));
    by.any(|name| name.eq_ignore_ascii_case(pseudonym.as_bytes()))
}

/// Whether a caller proves possession of a key (RFC 9449).
pub(super) fn has_dpop(caller: &HeaderMap) -> bool {
    caller.contains_key(DPOP)
}

/// Returns the headers of a caller without its proof.
pub(super) fn without_dpop(caller: &HeaderMap) -> HeaderMap {
    let mut headers = caller.clone();
    headers.remove(DPOP);
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn cookies_credentials_and_hops_of_a_caller_stay_behind() {
        let caller = headers(&[
            ("accept", "application/json"),
            ("accept-language", "de"),
            ("user-agent", "x/1"),
            ("traceparent", "00-1-2-00"),
            ("authorization", "Basic canary"),
            ("proxy-authorization", "canary"),
            ("cookie", "canary"),
            ("x-forwarded-for", "canary"),
            ("forwarded", "canary"),
            ("connection", "canary"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("content-length", "7"),
            ("content-type", "application/x-www-form-urlencoded; charset=canary"),
            ("host", "canary"),
            ("expect", "100-continue"),
            ("upgrade", "canary"),
            ("accept-encoding", "gzip"),
            ("dpop", "proof"),
            ("crossfade-instance", "canary"),
            ("via", "1.0 other"),
        ]);
        let via = HeaderValue::from_static("1.1 crossfade-1");
        let sent = to_issuer(&caller, &[], false, &via);
        let mut names: Vec<_> = sent.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        let expected = [
            "accept",
            "accept-encoding",
            "accept-language",
            "content-type",
            "traceparent",
            "user-agent",
            "via",
        ];
        assert_eq!(names, expected);
        assert!(!format!("{sent:?}").contains("canary"), "{sent:?}");
        assert_eq!(sent.get_all(VIA).iter().collect::<Vec<_>>(), ["1.0 other", "1.1 crossfade-1"]);
        assert_eq!(to_issuer(&caller, &[], true, &via)["dpop"], "proof");
        let further = ["crossfade-instance", "accept", "absent"].map(str::to_owned);
        let sent = to_issuer(&caller, &further, false, &via);
        assert_eq!(sent["crossfade-instance"], "canary");
        assert_eq!((sent.len(), sent.get_all(ACCEPT).iter().count()), (expected.len() + 2, 1), "{sent:?}");
    }

    #[test]
    fn cookies_and_hops_of_an_issuer_stay_behind() {
        let issuer = headers(&[
            ("content-type", "application/json"),
            ("cache-control", "no-store"),
            ("pragma", "no-cache"),
            ("dpop-nonce", "n"),
            ("www-authenticate", "DPoP"),
            ("www-authenticate", "Basic"),
            ("retry-after", "9"),
            ("x-ratelimit-remaining", "1"),
            ("ratelimit", "1"),
            ("x-rate-limit-reset", "1"),
            ("x-okta-request-id", "q"),
            ("access-control-allow-origin", "*"),
            ("set-cookie", "canary"),
            ("set-cookie2", "canary"),
            ("location", "canary"),
            ("connection", "canary"),
            ("transfer-encoding", "canary"),
            ("content-length", "canary"),
            ("content-encoding", "canary"),
            ("strict-transport-security", "canary"),
            ("content-security-policy", "canary"),
            ("clear-site-data", "canary"),
            ("refresh", "canary"),
            ("link", "canary"),
            ("alt-svc", "canary"),
            ("server", "canary"),
        ]);
        let passed = to_caller(&issuer);
        assert!(!format!("{passed:?}").contains("canary"), "{passed:?}");
        assert_eq!((passed.len(), passed.get_all(WWW_AUTHENTICATE).iter().count()), (12, 2));
    }

    #[test]
    fn a_request_that_comes_back_is_recognised_among_other_hops() {
        for (values, is_own) in [
            (&["1.1 crossfade-1"][..], true),
            (&["1.0 fred, HTTP/1.1 CROSSFADE-1 (comment)"], true),
            (&["1.1 other", "1.1 a,1.1\tcrossfade-1"], true),
            (&["1.1 crossfade-12"], false),
            (&["1.1 crossfade-2, 1.1 nginx"], false),
            (&["crossfade-1"], false),
            (&[], false),
        ] {
            let list: Vec<_> = values.iter().map(|value| ("via", *value)).collect();
            assert_eq!(has_passed(&headers(&list), "crossfade-1"), is_own, "{values:?}");
        }
    }
}
