//! Front mode: an environment in front of the issuer that a shop already has. Crossfade authenticates the caller with its
//! own secrets, and forwards the request with the one upstream credential of the registration.

use crate::{Problem, Timestamp, environment::Slug, secret::looks_like_secret, webhook::MAX_URL};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, time::Duration};
use url::Url;

/// Maximum number of authorization servers of an environment.
pub const MAX_SERVERS: usize = 20;
/// Maximum number of request headers that are forwarded besides the usual ones.
const MAX_REQUEST_HEADERS: usize = 16;
/// Maximum length of the name of such a header, in bytes.
const MAX_REQUEST_HEADER: usize = 64;
/// Request headers that are never forwarded as a caller sent them: those of a connection (RFC 9110 §7.6), of the message, of an
/// authentication, and those in which proxies say who called.
const KEPT_HEADERS: [&str; 18] = [
    "accept-encoding",
    "auth0-forwarded-for",
    "authorization",
    "cf-connecting-ip",
    "connection",
    "cookie",
    "cookie2",
    "dpop",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "true-client-ip",
    "upgrade",
    "via",
    "x-real-ip",
];
/// Beginnings of such names.
const KEPT_HEADERS_BEGIN: [&str; 7] =
    ["content-", "proxy-", "sec-", "ssl-", "transfer-", "x-client-cert", "x-forwarded-"];
/// Maximum length of a secret of an upstream credential in bytes.
pub const MAX_SECRET: usize = 4096;
/// A URL as a regular expression, for the schemas of the API.
const URL_PATTERN: &str = "^[Hh][Tt][Tt][Pp][Ss]?://[!-~]+$";
/// Last segments of paths of an environment that are no server.
const OWN_PATHS: [&str; 2] = ["jwks", "rotate-secret"];

/// Who issues the tokens of an environment.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum IssuerMode {
    /// Crossfade issues the tokens.
    #[default]
    Own,
    /// Crossfade authenticates callers and forwards their requests to another issuer.
    Upstream,
}

impl IssuerMode {
    /// Returns `own` or `upstream`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Upstream => "upstream",
        }
    }

    /// Reads `own` or `upstream`.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Own, Self::Upstream].into_iter().find(|mode| mode.as_str() == text)
    }
}

/// What happens to a request that names no client that is or was registered in an environment in front of another issuer.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum UnregisteredClients {
    /// Crossfade refuses it.
    #[default]
    Refuse,
    /// Crossfade forwards it with its own authentication, and the issuer decides.
    Pass,
}

impl UnregisteredClients {
    /// Returns `refuse` or `pass`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Pass => "pass",
        }
    }

    /// Reads `refuse` or `pass`.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Refuse, Self::Pass].into_iter().find(|own| own.as_str() == text)
    }
}

/// Longest time for which an environment can learn secrets.
pub const MAX_ADOPTION: Duration = Duration::from_secs(90 * 86_400);

/// How long the first secret that was learned stays valid after a second one was learned. It is longer than anybody needs, because
/// nobody has asked for its end.
pub const LEARNED_BEFORE: Duration = Duration::from_secs(365 * 86_400);

/// Reads until when an environment learns secrets. A time that has passed ends it.
pub fn adopt_until(text: &str, now: Timestamp) -> Result<Timestamp, Problem> {
    let until =
        Timestamp::parse(text).map_err(|error| Problem::invalid("adopt_until", &format!("is {error}")))?;
    if until > now.after(MAX_ADOPTION) {
        return Err(Problem::invalid("adopt_until", "must be at most 90 days ahead"));
    }
    Ok(until)
}

/// The product that an upstream issuer runs, because issuers differ in what their refusals mean and in what they accept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IssuerKind {
    /// Keycloak.
    Keycloak,
    /// Microsoft Entra ID.
    Entra,
    /// Okta.
    Okta,
    /// Auth0.
    Auth0,
    /// Ory Hydra.
    Hydra,
    /// Any other issuer that follows RFC 6749.
    Generic,
}

/// What an answer of an upstream issuer that gives nothing says about the credential that was sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Refusal {
    /// The issuer refused the credential. It has executed nothing.
    Credential,
    /// The issuer accepted the credential, and refused the request of the caller.
    Request,
    /// Either is possible: only another try of the credential tells. The issuer has executed nothing.
    Undecided,
    /// The answer says nothing about the credential: the issuer may not even have looked at it.
    Silent,
}

/// A row of the table of refusals: status, `error`, meaning.
type Row = (u16, &'static str, Refusal);

/// What differs between kinds of issuers.
struct Differences {
    kind: IssuerKind,
    name: &'static str,
    /// Whether the token endpoint accepts JSON besides forms.
    accepts_json: bool,
    /// Whether a wrong credential can also be refused with `unauthorized_client`.
    hides_strangers: bool,
    /// Where a person creates a secret at the issuer.
    new_secret: &'static str,
    /// Command that sets the secret in the variable `SECRET` at the issuer; `None` if the issuer makes its secrets itself, or the
    /// product is not known. The secret is in no argument, because others on the machine could read it.
    sets_given: Option<&'static str>,
    /// Refusals that mean something else than RFC 6749 §5.2 says.
    refusals: &'static [Row],
}

/// Refusals of a request (400) that an issuer only gives to a client that it has authenticated (RFC 6749 §5.2, RFC 7009
/// §2.2.1). `invalid_request` and `unsupported_grant_type` are not among them: issuers look at the grant first.
const AFTER_AUTHENTICATION: [&str; 4] =
    ["invalid_grant", "invalid_scope", "invalid_token", "unsupported_token_type"];

/// The one place that knows how issuers differ.
const KINDS: [Differences; 6] = [
    Differences {
        kind: IssuerKind::Keycloak,
        name: "keycloak",
        accepts_json: false,
        hides_strangers: true,
        new_secret: "In the Admin Console of Keycloak, open the client and regenerate its secret under Credentials.",
        sets_given: Some(
            r#"printf '{"secret":"%s"}' "$SECRET" | kcadm.sh update clients/ID_OF_THE_CLIENT -r REALM -m -f -"#,
        ),
        // Both a wrong secret and a client without a service account; and an audience that is no client.
        refusals: &[
            (401, "unauthorized_client", Refusal::Undecided),
            (400, "unauthorized_client", Refusal::Undecided),
            (400, "invalid_client", Refusal::Undecided),
        ],
    },
    Differences {
        kind: IssuerKind::Entra,
        name: "entra",
        accepts_json: false,
        hides_strangers: true,
        new_secret: "Add a client secret to the application with addPassword of Microsoft Graph, or under Certificates and secrets. Entra makes the value, and an application can have several.",
        sets_given: None,
        // An application that the tenant does not have.
        refusals: &[
            (400, "unauthorized_client", Refusal::Undecided),
            (400, "invalid_client", Refusal::Undecided),
        ],
    },
    Differences {
        kind: IssuerKind::Okta,
        name: "okta",
        accepts_json: false,
        hides_strangers: false,
        new_secret: "Create a secret with POST /api/v1/apps/ID_OF_THE_APP/credentials/secrets. Okta accepts two at the same time.",
        sets_given: Some(
            r#"printf '{"client_secret":"%s"}' "$SECRET" | curl --fail --json @- --header @okta-authorization.header https://ORGANISATION.okta.com/api/v1/apps/ID_OF_THE_APP/credentials/secrets"#,
        ),
        refusals: &[],
    },
    Differences {
        kind: IssuerKind::Auth0,
        name: "auth0",
        accepts_json: true,
        hides_strangers: false,
        new_secret: "Rotate the secret with POST /api/v2/clients/CLIENT_ID/rotate-secret. The earlier secret ends immediately.",
        sets_given: Some(
            r#"printf '{"client_secret":"%s"}' "$SECRET" | curl --fail --request PATCH --json @- --header @auth0-authorization.header https://TENANT.auth0.com/api/v2/clients/CLIENT_ID"#,
        ),
        // A wrong secret is 401; 403 is a client that may not have the audience or the grant.
        refusals: &[
            (401, "access_denied", Refusal::Credential),
            (403, "access_denied", Refusal::Request),
            (403, "unauthorized_client", Refusal::Request),
        ],
    },
    Differences {
        kind: IssuerKind::Hydra,
        name: "hydra",
        accepts_json: false,
        hides_strangers: false,
        new_secret: "Rotate the secret with POST /admin/clients/CLIENT_ID/secrets/rotate. Hydra makes the value.",
        sets_given: None,
        refusals: &[],
    },
    Differences {
        kind: IssuerKind::Generic,
        name: "generic",
        accepts_json: false,
        hides_strangers: false,
        new_secret: "Create a secret for the client at the issuer.",
        sets_given: None,
        // An unknown product may mean another client that the request names.
        refusals: &[(400, "invalid_client", Refusal::Undecided)],
    },
];

impl IssuerKind {
    /// All kinds, in the order in which they are listed.
    pub const ALL: [Self; 6] =
        [Self::Keycloak, Self::Entra, Self::Okta, Self::Auth0, Self::Hydra, Self::Generic];

    fn differences(self) -> &'static Differences {
        let [.., generic] = &KINDS;
        KINDS.iter().find(|row| row.kind == self).unwrap_or(generic)
    }

    /// Returns the name of the kind, such as `keycloak`.
    pub fn as_str(self) -> &'static str {
        self.differences().name
    }

    /// Reads the name of a kind.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// Whether the token endpoint accepts a JSON body.
    pub fn accepts_json(self) -> bool {
        self.differences().accepts_json
    }

    /// Returns where a person creates a secret at the issuer, as a sentence.
    pub fn new_secret(self) -> &'static str {
        self.differences().new_secret
    }

    /// Returns a command that sets the secret in the variable `SECRET` at the issuer; `None` if there is none.
    pub fn sets_given(self) -> Option<&'static str> {
        self.differences().sets_given
    }

    /// Returns whether a credential was accepted that is refused a grant with `unauthorized_client`; `None` if the kind also
    /// says so to a wrong credential.
    pub fn is_accepted_without_grant(self) -> Option<bool> {
        (!self.differences().hides_strangers).then_some(true)
    }

    /// Returns what an answer with this status and this `error` says about the credential; success without an `error` is
    /// no question for this.
    pub fn refusal(self, status: u16, error: Option<&str>) -> Refusal {
        let own =
            self.differences().refusals.iter().find(|(of, code, _)| *of == status && error == Some(*code));
        match (own, status, error) {
            (Some((_, _, meaning)), ..) => *meaning,
            // RFC 6749 §5.2: 401 with or without a challenge, or 400.
            (None, 400 | 401, Some("invalid_client")) => Refusal::Credential,
            (None, 401, _) => Refusal::Undecided,
            (None, 400 | 403, Some("unauthorized_client")) => Refusal::Undecided,
            (None, 400, Some(error)) if AFTER_AUTHENTICATION.contains(&error) => Refusal::Request,
            _ => Refusal::Silent,
        }
    }
}

/// An endpoint of an issuer that requests are forwarded to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Endpoint {
    /// Token endpoint (RFC 6749 §3.2).
    Token,
    /// Pushed authorization requests (RFC 9126 §2).
    PushedAuthorizationRequest,
    /// Device authorization (RFC 8628 §3.1).
    DeviceAuthorization,
    /// Backchannel authentication (OpenID Connect CIBA §7).
    BackchannelAuthentication,
    /// Token revocation (RFC 7009 §2).
    Revocation,
    /// Token introspection (RFC 7662 §2).
    Introspection,
}

impl Endpoint {
    /// All endpoints, in the order in which they are listed.
    pub const ALL: [Self; 6] = [
        Self::Token,
        Self::PushedAuthorizationRequest,
        Self::DeviceAuthorization,
        Self::BackchannelAuthentication,
        Self::Revocation,
        Self::Introspection,
    ];

    /// Returns the last segment of its path in Crossfade, such as `token`.
    pub fn path(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::PushedAuthorizationRequest => "par",
            Self::DeviceAuthorization => "device_authorization",
            Self::BackchannelAuthentication => "bc-authorize",
            Self::Revocation => "revoke",
            Self::Introspection => "introspect",
        }
    }

    /// Returns the name of its operation in metrics and logs, such as `token`.
    pub fn operation(self) -> &'static str {
        match self {
            Self::BackchannelAuthentication => "bc_authorize",
            other => other.path(),
        }
    }

    /// Returns the endpoint with this last segment of its path.
    pub fn from_path(segment: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|endpoint| endpoint.path() == segment)
    }

    /// Returns the name of its member in the metadata of an issuer (RFC 8414 §2).
    pub fn member(self) -> &'static str {
        match self {
            Self::Token => "token_endpoint",
            Self::PushedAuthorizationRequest => "pushed_authorization_request_endpoint",
            Self::DeviceAuthorization => "device_authorization_endpoint",
            Self::BackchannelAuthentication => "backchannel_authentication_endpoint",
            Self::Revocation => "revocation_endpoint",
            Self::Introspection => "introspection_endpoint",
        }
    }
}

/// An authorization server of an upstream issuer. The servers of an environment share its registrations and their
/// upstream credentials.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Name of the server in paths: `/env/{environment}/oauth2/{name}/token`.
    #[schemars(regex(pattern = Slug::PATTERN))]
    pub name: String,
    /// Issuer identifier, as the issuer's tokens state it.
    #[schemars(length(max = MAX_URL), regex(pattern = URL_PATTERN))]
    pub issuer: String,
    /// URL of the token endpoint.
    #[schemars(length(max = MAX_URL), regex(pattern = URL_PATTERN))]
    pub token_endpoint: String,
    /// URL for pushed authorization requests; without one they are not forwarded.
    #[serde(default)]
    #[schemars(length(max = MAX_URL), regex(pattern = URL_PATTERN))]
    pub pushed_authorization_request_endpoint: Option<String>,
    /// URL for device authorization; without one it is not forwarded.
    #[serde(default)]
    #[schemars(length(max = MAX_URL), regex(pattern = URL_PATTERN))]
    pub device_authorization_endpoint: Option<String>,
    /// URL for backchannel authentication; without one it is not forwarded.
    #[serde(default)]
    #[schemars(length(max = MAX_URL), regex(pattern = URL_PATTERN))]
    pub backchannel_authentication_endpoint: Option<String>,
    /// URL for token revocation; without one it is not forwarded.
    #[serde(default)]
    #[schemars(length(max = MAX_URL), regex(pattern = URL_PATTERN))]
    pub revocation_endpoint: Option<String>,
    /// URL for token introspection; without one it is not forwarded, and APIs go on asking the issuer.
    #[serde(default)]
    #[schemars(length(max = MAX_URL), regex(pattern = URL_PATTERN))]
    pub introspection_endpoint: Option<String>,
}

impl Server {
    /// Returns the URL of an endpoint; `None` if requests to it are not forwarded.
    pub fn endpoint(&self, endpoint: Endpoint) -> Option<&str> {
        match endpoint {
            Endpoint::Token => Some(&self.token_endpoint),
            Endpoint::PushedAuthorizationRequest => self.pushed_authorization_request_endpoint.as_deref(),
            Endpoint::DeviceAuthorization => self.device_authorization_endpoint.as_deref(),
            Endpoint::BackchannelAuthentication => self.backchannel_authentication_endpoint.as_deref(),
            Endpoint::Revocation => self.revocation_endpoint.as_deref(),
            Endpoint::Introspection => self.introspection_endpoint.as_deref(),
        }
    }
}

/// The issuer that an environment is in front of.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// Kind of the issuer.
    pub kind: IssuerKind,
    /// Its authorization servers. The first one is also served without its name in the path.
    #[schemars(length(min = 1, max = MAX_SERVERS))]
    pub servers: Vec<Server>,
    /// Names of request headers that are forwarded besides the usual ones, in lower case. A caller can send anything in them.
    #[serde(default)]
    #[schemars(length(max = MAX_REQUEST_HEADERS))]
    pub request_headers: Vec<String>,
}

impl Upstream {
    /// Checks what a person has set. Whether Crossfade can connect to a URL is checked where that is known, by `check_url`,
    /// which returns what is wrong as a predicate.
    pub fn check(&self, check_url: impl Fn(&str) -> Result<(), String>) -> Result<(), Problem> {
        if !(1..=MAX_SERVERS).contains(&self.servers.len()) {
            return Err(refused("servers", &format!("must contain 1 to {MAX_SERVERS} servers")));
        }
        let mut names = BTreeSet::new();
        for server in &self.servers {
            let name = Slug::parse("upstream", &server.name).map_err(|_| {
                let what = "must be 1 to 40 lowercase letters, digits and hyphens";
                refused("servers.name", what)
            })?;
            let is_path = Endpoint::from_path(name.as_str()).is_some() || OWN_PATHS.contains(&name.as_str());
            if is_path {
                return Err(refused(
                    "servers.name",
                    &format!("must not be {name}, which is the path of an endpoint"),
                ));
            }
            if !names.insert(name.to_string()) {
                return Err(refused("servers.name", &format!("must contain {name} once")));
            }
            check_issuer(&server.issuer)?;
            for endpoint in Endpoint::ALL {
                let Some(url) = server.endpoint(endpoint) else { continue };
                let field = format!("servers.{}", endpoint.member());
                check_url(url).map_err(|what| refused(&field, &what))?;
                if looks_like_secret(url) || url.contains('?') {
                    return Err(refused(&field, "must not contain a query or a secret"));
                }
            }
        }
        if self.request_headers.len() > MAX_REQUEST_HEADERS {
            let what = format!("must contain at most {MAX_REQUEST_HEADERS} names");
            return Err(refused("request_headers", &what));
        }
        self.request_headers.iter().try_for_each(|name| check_request_header(name))
    }

    /// Returns scheme, host and port of each endpoint, sorted, each once. Credentials are sent to no other.
    pub fn origins(&self) -> BTreeSet<String> {
        let urls =
            self.servers.iter().flat_map(|server| Endpoint::ALL.map(|endpoint| server.endpoint(endpoint)));
        urls.flatten().filter_map(origin).collect()
    }

    /// Returns the server with this name; without a name the first one.
    pub fn server(&self, name: Option<&str>) -> Option<&Server> {
        match name {
            None => self.servers.first(),
            Some(name) => self.servers.iter().find(|server| server.name == name),
        }
    }
}

/// Returns scheme, host and port of a URL.
pub fn origin(url: &str) -> Option<String> {
    Url::parse(url).ok().map(|url| url.origin().ascii_serialization())
}

/// Returns a refusal that names the member of `upstream` in its sentence.
fn refused(member: &str, what: &str) -> Problem {
    Problem::invalid("upstream", &format!("is not valid: {member} {what}"))
}

/// Checks the name of a request header that a person wants to be forwarded.
fn check_request_header(name: &str) -> Result<(), Problem> {
    let is_name = (1..=MAX_REQUEST_HEADER).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !is_name {
        let what = "must contain names of 1 to 64 lowercase letters, digits and hyphens";
        return Err(refused("request_headers", what));
    }
    let is_kept =
        KEPT_HEADERS.contains(&name) || KEPT_HEADERS_BEGIN.iter().any(|begin| name.starts_with(begin));
    if is_kept {
        let what =
            format!("must not contain {name}, which says who the caller is or how the request is sent");
        return Err(refused("request_headers", &what));
    }
    Ok(())
}

/// Checks an issuer identifier (RFC 8414 §2). Nothing is sent to it.
fn check_issuer(text: &str) -> Result<(), Problem> {
    let is_plain = text.len() <= MAX_URL && text.bytes().all(|byte| byte.is_ascii_graphic());
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "https" | "http") && url.has_host());
    let is_issuer = url.is_some_and(|url| {
        url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
    });
    if is_plain && is_issuer && !looks_like_secret(text) {
        return Ok(());
    }
    let what = "must be a URL such as https://id.example.com, in ASCII, without user, query and fragment";
    Err(refused("servers.issuer", what))
}

/// How Crossfade authenticates at an upstream issuer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CredentialMethod {
    /// In the `Authorization` header.
    ClientSecretBasic,
    /// In the body of the request.
    ClientSecretPost,
}

impl CredentialMethod {
    /// Returns the registered name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
        }
    }

    /// Reads the registered name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::ClientSecretBasic, Self::ClientSecretPost].into_iter().find(|method| method.as_str() == text)
    }
}

/// How `client_id` and secret are written into the `Authorization` header. Servers read it in different ways.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum BasicEncoding {
    /// Everything but letters and digits percent-encoded, which each server reads that decodes them (RFC 6749 §2.3.1).
    #[default]
    Percent,
    /// As they are, for servers that decode nothing.
    Raw,
}

impl BasicEncoding {
    /// Both, in the order in which they are tried.
    pub const ALL: [Self; 2] = [Self::Percent, Self::Raw];

    /// Returns `percent` or `raw`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Percent => "percent",
            Self::Raw => "raw",
        }
    }

    /// Reads `percent` or `raw`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|encoding| encoding.as_str() == text)
    }

    /// Returns the other encoding that a server may read, for a test; `None` if both are the same text, or the `client_id` would
    /// not end where it should.
    pub fn alternative(self, client_id: &str, secret: &str) -> Option<Self> {
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        match self {
            _ if is_plain(client_id) && is_plain(secret) => None,
            Self::Percent => (!client_id.contains(':')).then_some(Self::Raw),
            Self::Raw => Some(Self::Percent),
        }
    }
}

/// What a test of a secret has shown.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TestOutcome {
    /// The issuer accepts the secret.
    Accepted,
    /// The issuer refuses the secret.
    Refused,
    /// The issuer did not answer, or its response does not tell.
    Undecided,
}

impl TestOutcome {
    /// Returns its word, such as `accepted`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Undecided => "undecided",
        }
    }
}

/// A place for a secret of an upstream credential. Both are tried, so that the secret is rotated at the issuer without a
/// gap.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Slot {
    /// The secret that the issuer has now.
    Current,
    /// The secret that the issuer will have.
    Next,
}

impl Slot {
    /// Both, in the order in which they are listed.
    pub const ALL: [Self; 2] = [Self::Current, Self::Next];

    /// Returns `current` or `next`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Next => "next",
        }
    }

    /// Reads `current` or `next`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|slot| slot.as_str() == text)
    }

    /// Returns the other slot.
    pub fn other(self) -> Self {
        match self {
            Self::Current => Self::Next,
            Self::Next => Self::Current,
        }
    }
}

/// What is known about the secret in a slot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SlotState {
    /// Not sent to the issuer since it was set.
    Untested,
    /// The issuer accepted it.
    Ok,
    /// The issuer refused it.
    Refused,
    /// The issuer did not answer, or its response does not tell.
    Unknown,
}

impl SlotState {
    /// Returns the name of the state, such as `untested`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Untested => "untested",
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }

    /// Reads the name of a state.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Untested, Self::Ok, Self::Refused, Self::Unknown]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// How long after a recorded refusal of a credential another one is not recorded: an issuer whose own nodes disagree refuses
/// and accepts in turn.
const RECORDED_FOR: Duration = Duration::from_secs(600);

/// Whether a credential as a whole is refused, and what is recorded of that.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Refused {
    /// Since when the issuer refuses all its secrets; `None` if it does not.
    pub since: Option<Timestamp>,
    /// When a refusal was last recorded.
    pub recorded_at: Option<Timestamp>,
}

/// What is recorded of a credential.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// The issuer refuses all its secrets since then.
    Refused(Timestamp),
    /// The issuer accepts the secret in this slot again, after it refused all since then.
    Accepted(Timestamp, Slot),
}

impl Refused {
    /// Returns what follows from the present states of the secrets, and what is to be recorded. While one secret is not known
    /// to be refused, the credential is not: a secret that ends at the issuer after the other one was set is no fault.
    pub fn after(self, slots: &[(Slot, SlotState)], now: Timestamp) -> (Self, Option<Turn>) {
        let accepted = slots.iter().find(|(_, state)| *state == SlotState::Ok);
        let is_recorded = |since| self.recorded_at.is_some_and(|at| at >= since);
        if let Some((slot, _)) = accepted {
            let turn = self.since.filter(|since| is_recorded(*since));
            return (Self { since: None, ..self }, turn.map(|since| Turn::Accepted(since, *slot)));
        }
        if slots.is_empty() || slots.iter().any(|(_, state)| *state != SlotState::Refused) {
            return (self, None);
        }
        let since = self.since.unwrap_or(now);
        let is_due = !is_recorded(since) && self.recorded_at.is_none_or(|at| at.after(RECORDED_FOR) <= now);
        let recorded_at = if is_due { Some(now) } else { self.recorded_at };
        (Self { since: Some(since), recorded_at }, is_due.then_some(Turn::Refused(since)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_row_and_its_name_reads_back() {
        for (kind, row) in IssuerKind::ALL.into_iter().zip(&KINDS) {
            assert_eq!(kind, row.kind);
            assert_eq!(IssuerKind::parse(kind.as_str()), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        assert_eq!(IssuerKind::parse("Keycloak"), None);
        assert_eq!(IssuerKind::ALL.map(IssuerKind::accepts_json), [false, false, false, true, false, false]);
    }

    #[test]
    fn another_encoding_is_tried_only_where_it_differs_and_can_be_read() {
        use BasicEncoding::{Percent, Raw};
        for (id, secret, of_percent, of_raw) in [
            ("abc", "a1B2", None, None),
            ("abc", "a-b_c~%+ü", Some(Raw), Some(Percent)),
            ("my app", "a", Some(Raw), Some(Percent)),
            // A server that decodes nothing would cut the client_id at the colon.
            ("https://app", "a", None, Some(Percent)),
        ] {
            assert_eq!(
                (Percent.alternative(id, secret), Raw.alternative(id, secret)),
                (of_percent, of_raw),
                "{id}"
            );
        }
        assert_eq!(
            BasicEncoding::ALL.map(|it| BasicEncoding::parse(it.as_str())),
            [Some(Percent), Some(Raw)]
        );
    }

    #[test]
    fn a_refused_credential_is_recorded_once_until_it_is_accepted() {
        use SlotState::{Ok, Refused as No, Unknown, Untested};
        let at = |seconds: i64| Timestamp::from_seconds(1_795_525_500 + seconds);
        let of = |states: &[SlotState]| Slot::ALL.into_iter().zip(states.iter().copied()).collect::<Vec<_>>();
        let (mut known, mut seen) = (Refused::default(), Vec::new());
        for (seconds, states) in [
            (0, &[Untested][..]),
            // The other one may work.
            (1, &[No, Untested]),
            (2, &[No, Unknown]),
            (3, &[No, No]),
            (4, &[No, No]),
            // Another secret was set.
            (5, &[Untested, No]),
            (6, &[No, No]),
            (7, &[No, Ok]),
            // Within 10 minutes of the last record.
            (8, &[No, No]),
            (9, &[No, Ok]),
            (10, &[No]),
            (602, &[No]),
            (603, &[No]),
            (700, &[No]),
            (701, &[Ok]),
            (702, &[]),
        ] {
            let (next, turn) = known.after(&of(states), at(seconds));
            known = next;
            seen.extend(turn.map(|turn| (seconds, turn)));
        }
        let expected = [
            (3, Turn::Refused(at(3))),
            (7, Turn::Accepted(at(3), Slot::Next)),
            (603, Turn::Refused(at(10))),
            (701, Turn::Accepted(at(10), Slot::Current)),
        ];
        assert_eq!(seen, expected);
        assert_eq!(known, Refused { since: None, recorded_at: Some(at(603)) });
    }

    #[test]
    fn a_refusal_means_what_the_kind_says() {
        for (kind, status, error, meaning) in [
            (IssuerKind::Generic, 401, Some("invalid_client"), Refusal::Credential),
            (IssuerKind::Generic, 400, Some("invalid_client"), Refusal::Undecided),
            (IssuerKind::Generic, 400, Some("invalid_grant"), Refusal::Request),
            (IssuerKind::Generic, 400, Some("invalid_scope"), Refusal::Request),
            (IssuerKind::Generic, 400, Some("invalid_request"), Refusal::Silent),
            (IssuerKind::Generic, 400, Some("invalid_dpop_proof"), Refusal::Silent),
            (IssuerKind::Generic, 400, Some("unsupported_grant_type"), Refusal::Silent),
            (IssuerKind::Generic, 200, Some("invalid_grant"), Refusal::Silent),
            (IssuerKind::Generic, 403, Some("whatever"), Refusal::Silent),
            (IssuerKind::Generic, 404, None, Refusal::Silent),
            (IssuerKind::Generic, 500, Some("invalid_grant"), Refusal::Silent),
            (IssuerKind::Generic, 400, Some("unauthorized_client"), Refusal::Undecided),
            (IssuerKind::Generic, 401, None, Refusal::Undecided),
            (IssuerKind::Generic, 429, None, Refusal::Silent),
            (IssuerKind::Generic, 503, Some("invalid_client"), Refusal::Silent),
            (IssuerKind::Keycloak, 401, Some("unauthorized_client"), Refusal::Undecided),
            (IssuerKind::Keycloak, 401, Some("invalid_client"), Refusal::Credential),
            (IssuerKind::Keycloak, 400, Some("invalid_client"), Refusal::Undecided),
            (IssuerKind::Entra, 401, Some("invalid_client"), Refusal::Credential),
            (IssuerKind::Entra, 400, Some("unauthorized_client"), Refusal::Undecided),
            (IssuerKind::Okta, 401, Some("invalid_client"), Refusal::Credential),
            (IssuerKind::Okta, 400, Some("invalid_client"), Refusal::Credential),
            (IssuerKind::Auth0, 401, Some("access_denied"), Refusal::Credential),
            (IssuerKind::Auth0, 403, Some("access_denied"), Refusal::Request),
            (IssuerKind::Hydra, 401, Some("invalid_client"), Refusal::Credential),
        ] {
            assert_eq!(kind.refusal(status, error), meaning, "{kind:?} {status} {error:?}");
        }
    }

    #[test]
    fn endpoints_are_named_as_in_rfc8414_and_found_by_their_path() {
        let server: Server = serde_json::from_value(serde_json::json!({
            "name": "main", "issuer": "https://id.example", "token_endpoint": "https://id.example/token",
            "revocation_endpoint": "https://id.example/revoke",
        }))
        .unwrap();
        for endpoint in Endpoint::ALL {
            assert_eq!(Endpoint::from_path(endpoint.path()), Some(endpoint));
            let written = serde_json::to_value(&server).unwrap();
            assert_eq!(written[endpoint.member()].as_str(), server.endpoint(endpoint));
        }
        assert_eq!(Endpoint::from_path("jwks"), None);
    }

    fn upstream(change: impl FnOnce(&mut Server)) -> Upstream {
        let mut server: Server = serde_json::from_value(serde_json::json!({
            "name": "main", "issuer": "https://id.example", "token_endpoint": "https://id.example/token",
        }))
        .unwrap();
        change(&mut server);
        Upstream { kind: IssuerKind::Okta, servers: vec![server], request_headers: vec![] }
    }

    #[test]
    fn what_cannot_be_an_issuer_is_refused_with_the_member() {
        let says = |upstream: &Upstream| upstream.check(|_| Ok(())).map_err(|problem| problem.detail);
        assert_eq!(says(&upstream(|_| {})), Ok(()));
        let change = |change: fn(&mut Server)| says(&upstream(change)).unwrap_err();
        for (refused, member) in [
            (change(|it| it.name = "Main".into()), "servers.name"),
            (change(|it| it.name = "token".into()), "the path of an endpoint"),
            (change(|it| it.name = "jwks".into()), "the path of an endpoint"),
            (change(|it| it.issuer = "id.example".into()), "servers.issuer"),
            (change(|it| it.issuer = "https://id.example/?a".into()), "servers.issuer"),
            (change(|it| it.issuer = "https://ada@id.example".into()), "servers.issuer"),
            (change(|it| it.issuer = "ftp://id.example".into()), "servers.issuer"),
            (
                change(|it| it.token_endpoint = "https://id.example/token?secret=a".into()),
                "servers.token_endpoint",
            ),
            (
                change(|it| {
                    it.revocation_endpoint = Some("https://id.example/crossfade_live_0123456789ab".into())
                }),
                "servers.revocation_endpoint",
            ),
            (says(&Upstream { servers: vec![], ..upstream(|_| {}) }).unwrap_err(), "1 to 20 servers"),
            (
                says(&Upstream { servers: vec![upstream(|_| {}).servers.remove(0); 2], ..upstream(|_| {}) })
                    .unwrap_err(),
                "once",
            ),
            (
                upstream(|_| {}).check(|_| Err("must be public".to_owned())).unwrap_err().detail,
                "servers.token_endpoint must be public",
            ),
        ] {
            assert!(refused.contains(member), "{refused}");
        }
    }

    #[test]
    fn headers_that_say_who_the_caller_is_are_not_forwarded() {
        let says = |names: &[&str]| {
            let request_headers = names.iter().map(|name| (*name).to_owned()).collect();
            Upstream { request_headers, ..upstream(|_| {}) }
                .check(|_| Ok(()))
                .map_err(|problem| problem.detail)
        };
        assert_eq!(says(&["x-tenant", "baggage", "x-okta-user-agent-extended", "origin"]), Ok(()));
        for name in [
            "authorization",
            "cookie",
            "x-forwarded-for",
            "forwarded",
            "content-length",
            "proxy-x",
            "x-real-ip",
            "te",
        ] {
            assert!(says(&[name]).unwrap_err().contains(name), "{name}");
        }
        for name in ["", "X-Tenant", "x tenant", "x:y", &"x".repeat(65)] {
            assert!(says(&[name]).unwrap_err().contains("request_headers"), "{name}");
        }
        assert!(says(&["a"; 17]).is_err());
    }

    #[test]
    fn credentials_are_bound_to_scheme_host_and_port() {
        let origins = upstream(|it| {
            it.revocation_endpoint = Some("HTTPS://ID.example:443/revoke".into());
            it.introspection_endpoint = Some("https://id.example:8443/introspect".into());
        })
        .origins();
        assert_eq!(
            origins.into_iter().collect::<Vec<_>>(),
            ["https://id.example", "https://id.example:8443"]
        );
    }

    #[test]
    fn names_of_modes_methods_slots_and_states_read_back() {
        assert_eq!(
            ["own", "upstream"].map(|text| IssuerMode::parse(text).unwrap().as_str()),
            ["own", "upstream"]
        );
        for method in [CredentialMethod::ClientSecretBasic, CredentialMethod::ClientSecretPost] {
            assert_eq!(CredentialMethod::parse(method.as_str()), Some(method));
            assert_eq!(serde_json::to_value(method).unwrap(), method.as_str());
        }
        for slot in Slot::ALL {
            assert_eq!((Slot::parse(slot.as_str()), slot.other().other()), (Some(slot), slot));
            assert_ne!(slot.other(), slot);
        }
        for state in ["untested", "ok", "refused", "unknown"] {
            assert_eq!(SlotState::parse(state).unwrap().as_str(), state);
        }
        assert_eq!(SlotState::parse("failed"), None);
    }
}
