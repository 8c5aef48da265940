//! The CLI's view of the API: one call, and its response or problem.

use crate::{
    cli::Remote,
    failure::Failure,
    loopback::is_loopback,
    output,
    profiles::{Profile, ProfileName, Profiles},
    progress::while_waiting,
};
use crossfade_authority::SystemRandom;
use crossfade_core::{Random, api::Page, base62, problem::ProblemDocument};
use reqwest::{Method, StatusCode, Url, header};
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;

/// A server and the credentials for it.
#[derive(Clone)]
pub(crate) struct Api {
    base: String,
    token: String,
    http: reqwest::Client,
    /// Whether a spinner is shown while waiting for a response.
    has_spinner: bool,
    credential: Credential,
}

/// Where an API token comes from.
#[derive(Clone)]
enum Credential {
    /// From CROSSFADE_TOKEN.
    Variable,
    /// From a profile.
    Profile(ProfileName),
}

/// Base URL of a server on this machine.
pub(crate) const DEFAULT_URL: &str = "http://127.0.0.1:8080";

/// Number of times a request is sent if no response comes.
const ATTEMPTS: u32 = 3;
/// Timeout for a response or for each part of a stream.
const WHOLE_ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// How long a request is repeated if the server refuses it because too many are running.
const REPEATED_FOR: Duration = Duration::from_secs(30);
/// Maximum pause between two attempts, whatever the server requests.
const MAX_PAUSE: Duration = Duration::from_secs(10);
const WAITING: &str = "Waiting for the server";

/// Whether the API token can be sent unencrypted to another machine.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlainHttp {
    /// Refused: nothing is sent.
    Refused,
    /// Allowed for this command.
    Allowed,
}

impl PlainHttp {
    /// Reads `--insecure-http`.
    pub(crate) fn of_flag(insecure_http: bool) -> Self {
        if insecure_http { Self::Allowed } else { Self::Refused }
    }
}

/// Returns the API token in CROSSFADE_TOKEN, if it is set.
#[expect(clippy::disallowed_methods, reason = "the CLI's one variable that must not be a flag")]
pub(crate) fn token_variable() -> Option<String> {
    std::env::var("CROSSFADE_TOKEN").ok().filter(|token| !token.is_empty())
}

impl Api {
    /// Returns the server that the command names, with the API token of a profile or of CROSSFADE_TOKEN.
    pub(crate) fn new(remote: &Remote) -> Result<Self, Failure> {
        let plain = PlainHttp::of_flag(remote.insecure_http);
        match token_variable().filter(|_| remote.profile.is_none()) {
            Some(token) => {
                let base = base_url(remote.url.as_deref().unwrap_or(DEFAULT_URL))?;
                Self::open(&base, token, plain, Credential::Variable)
            }
            None => {
                let url = remote.url.as_deref().map(base_url).transpose()?;
                let url = url.as_ref().map(without_slash);
                let (name, profile) =
                    Profiles::of_person()?.choose(remote.profile.as_ref(), url.as_deref())?;
                Self::of_profile(&name, &profile, plain)
            }
        }
    }

    /// Returns the server of a profile.
    pub(crate) fn of_profile(
        name: &ProfileName,
        profile: &Profile,
        plain: PlainHttp,
    ) -> Result<Self, Failure> {
        let token = profile.token.reveal().to_owned();
        Self::open(&base_url(&profile.url)?, token, plain, Credential::Profile(name.clone()))
    }

    /// Returns a server by its base URL: https, or on this machine.
    pub(crate) fn connect(url: &str, token: String) -> Result<Self, Failure> {
        Self::open(&base_url(url)?, token, PlainHttp::Refused, Credential::Variable)
    }

    fn open(base: &Url, token: String, plain: PlainHttp, credential: Credential) -> Result<Self, Failure> {
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            if let Credential::Profile(name) = &credential {
                return Err(Failure::usage(format!(
                    "The profile {name} holds no API token. Nothing was sent. Run crossfade login --profile {name}."
                )));
            }
            return Err(Failure::usage(
                "CROSSFADE_TOKEN is not an API token. Run crossfade login instead, or create one with crossfade token create.",
            ));
        }
        Ok(Self {
            base: format!("{}/api/v1", without_slash(base)),
            token,
            http: http_client(base, plain)?,
            has_spinner: true,
            credential,
        })
    }

    /// Returns where the API token of this command is from, as the end of a sentence.
    pub(crate) fn origin(&self) -> String {
        match &self.credential {
            Credential::Variable => format!("the API token in CROSSFADE_TOKEN, at {}", self.base),
            Credential::Profile(name) => format!("the profile {name}, at {}", self.base),
        }
    }

    /// Returns the server without a spinner, for a command that shows its own progress.
    pub(crate) fn without_spinner(self) -> Self {
        Self { has_spinner: false, ..self }
    }

    /// Reads an object.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.call(Method::GET, path, None::<(&(), _)>).await
    }

    /// Reads every page of a list, at most `most` items.
    pub(crate) async fn list<T: DeserializeOwned>(&self, path: &str, most: usize) -> Result<Vec<T>, Failure> {
        let (mut items, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let and = if path.contains('?') { '&' } else { '?' };
            let next = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
            let page: Page<T> = self.get(&format!("{path}{and}limit=200{next}")).await?;
            items.extend(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() || items.len() >= most {
                items.truncate(most);
                return Ok(items);
            }
        }
    }

    /// Sends a change. If the response is lost, it is sent again with the same key, so the change happens once.
    pub(crate) async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        self.call(method, path, Some((body, idempotency_key()))).await
    }

    /// Sends a change like [`Self::send`], with a key that another process can repeat it with.
    pub(crate) async fn send_with_key<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
        key: &str,
    ) -> Result<T, Failure> {
        self.call(method, path, Some((body, key.to_owned()))).await
    }

    /// Deletes an object that needs no body.
    pub(crate) async fn delete(&self, path: &str) -> Result<(), Failure> {
        self.send(Method::DELETE, path, &serde_json::json!({})).await
    }

    /// Reads a response that may be long.
    pub(crate) async fn stream(&self, path: &str) -> Result<Stream, Failure> {
        let response =
            while_waiting(WAITING, self.request(Method::GET, path, None::<(&(), _)>, None)).await?;
        match response.status().is_success() {
            true => Ok(Stream(response)),
            false => {
                let failure = answer::<()>(response).await.err().unwrap_or_else(|| not_ours("no response"));
                Err(self.named(failure))
            }
        }
    }

    async fn call<T: DeserializeOwned, B: Serialize>(
        &self,
        method: Method,
        path: &str,
        body: Option<(&B, String)>,
    ) -> Result<T, Failure> {
        let called =
            async { answer(self.request(method, path, body, Some(WHOLE_ANSWER_WITHIN)).await?).await };
        let called = if self.has_spinner { while_waiting(WAITING, called).await } else { called.await };
        called.map_err(|failure| self.named(failure))
    }

    /// Names the credential in the failure for a token that the server does not accept.
    fn named(&self, failure: Failure) -> Failure {
        match &self.credential {
            Credential::Variable => failure,
            Credential::Profile(name) => failure.of_profile(&name.to_string()),
        }
    }

    async fn request<B: Serialize>(
        &self,
        method: Method,
        path: &str,
        body: Option<(&B, String)>,
        within: Option<Duration>,
    ) -> Result<reqwest::Response, Failure> {
        let (mut attempt, mut paused) = (0, Duration::ZERO);
        loop {
            attempt += 1;
            let mut request =
                self.http.request(method.clone(), format!("{}{path}", self.base)).bearer_auth(&self.token);
            if let Some(within) = within {
                request = request.timeout(within);
            }
            if let Some((body, key)) = &body {
                request = request.header("idempotency-key", key).json(body);
            }
            match request.send().await {
                // Nothing was done, so a change can be sent again, too.
                Ok(response)
                    if response.status() == StatusCode::TOO_MANY_REQUESTS && paused < REPEATED_FOR =>
                {
                    let pause = pause(response.headers());
                    if paused.is_zero() {
                        let most = REPEATED_FOR.as_secs();
                        output::note(&format!("The server limits these requests. Waiting up to {most} s."));
                    }
                    paused += pause;
                    attempt -= 1;
                    tokio::time::sleep(pause).await;
                }
                Ok(response) => return Ok(response),
                Err(error) if attempt < ATTEMPTS && !error.is_builder() => {
                    tokio::time::sleep(Duration::from_millis(200 << attempt)).await;
                }
                Err(error) => {
                    return Err(Failure::unanswered(format!(
                        "Cannot reach {}: {}. Check that crossfade serve is running and that --url is \
                        correct.",
                        self.base,
                        root(&error)
                    )));
                }
            }
        }
    }
}

/// Returns the HTTP client for a server.
pub(crate) fn http_client(base: &Url, plain: PlainHttp) -> Result<reqwest::Client, Failure> {
    let mut builder = reqwest::Client::builder();
    if is_loopback(base) {
        // A proxy would get the token, and lead to its own machine.
        builder = builder.no_proxy();
    } else if base.scheme() == "http" {
        let host = base.host_str().unwrap_or_default();
        if plain == PlainHttp::Refused {
            return Err(Failure::usage(format!(
                "The API token would be sent unencrypted to {host}. Nothing was sent. Use an https:// URL, or set --insecure-http on a network that you trust."
            )));
        }
        output::note(&format!("Warning: the API token is sent unencrypted to {host}."));
    }
    builder
        .user_agent(concat!("crossfade-cli/", env!("CARGO_PKG_VERSION")))
        .read_timeout(WHOLE_ANSWER_WITHIN)
        // A token is not carried to wherever an answer points.
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| Failure::failed(format!("Cannot create the HTTP client: {error}.")))
}

/// Returns a URL as profiles have it.
pub(crate) fn without_slash(base: &Url) -> String {
    base.as_str().trim_end_matches('/').to_owned()
}

/// Parses the URL of a server. Errors do not quote it in full, because it may contain a password.
pub(crate) fn base_url(url: &str) -> Result<Url, Failure> {
    let refused = |what: &str| Failure::usage(format!("The URL of the server {what}."));
    let parsed = Url::parse(url).ok().filter(|url| ["http", "https"].contains(&url.scheme()));
    let Some(parsed) = parsed.filter(|url| url.host().is_some()) else {
        return Err(refused(
            "must start with http:// or https:// and a host, such as https://auth.example.com",
        ));
    };
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(refused("must not contain a user or a password. Set CROSSFADE_TOKEN instead"));
    }
    if parsed.query().is_some() || parsed.fragment().is_some() {
        return Err(refused("must not contain ? or #"));
    }
    Ok(parsed)
}

/// Returns the pause requested by the server in `Retry-After` (RFC 9110 §10.2.3).
fn pause(headers: &header::HeaderMap) -> Duration {
    let seconds = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Duration::from_secs(seconds.unwrap_or(1)).clamp(Duration::from_secs(1), MAX_PAUSE)
}

/// A response that is read in parts.
pub(crate) struct Stream(reqwest::Response);

impl Stream {
    /// Returns the next part; `None` at the end of the response.
    pub(crate) async fn next(&mut self) -> Result<Option<impl AsRef<[u8]> + use<>>, Failure> {
        self.0.chunk().await.map_err(|error| broke_off(&error))
    }
}

/// Returns `name=value` for a query.
pub(crate) fn form_encode(name: &str, value: &str) -> String {
    reqwest::Url::parse_with_params("http://localhost/", [(name, value)])
        .ok()
        .and_then(|url| url.query().map(str::to_owned))
        .unwrap_or_default()
}

/// Returns a text as one segment of a path, so that it names one object whatever it contains.
pub(crate) fn segment(text: &str) -> String {
    let mut url = reqwest::Url::parse("http://localhost/").ok();
    if let Some(Ok(mut path)) = url.as_mut().map(|url| url.path_segments_mut()) {
        path.clear().push(text);
    }
    // Two dots are no part of a path; an empty one names nothing either.
    url.map(|url| url.path().trim_start_matches('/').to_owned()).unwrap_or_default()
}

fn idempotency_key() -> String {
    let mut bytes = [0; 16];
    SystemRandom.fill(&mut bytes);
    base62::encode_fixed(&bytes, 22)
}

async fn answer<T: DeserializeOwned>(response: reqwest::Response) -> Result<T, Failure> {
    let status = response.status();
    let problem =
        response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/problem+json");
    let body = response.bytes().await.map_err(|error| broke_off(&error))?;
    if problem && let Ok(document) = serde_json::from_slice::<ProblemDocument>(&body) {
        return Err(Failure::answered(&document));
    }
    if matches!(
        status,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    ) {
        return Err(Failure::unanswered(format!(
            "A proxy returned {status} because the server does not respond."
        )));
    }
    if !status.is_success() {
        return Err(not_ours(status.as_str()));
    }
    let text: &[u8] = if status == StatusCode::NO_CONTENT { b"null" } else { &body };
    serde_json::from_slice(text)
        .map_err(|error| Failure::failed(format!("Cannot read the response: {error}.")))
}

fn broke_off(error: &reqwest::Error) -> Failure {
    Failure::unanswered(format!("The response was cut off: {}.", root(error)))
}

pub(crate) fn not_ours(answered: &str) -> Failure {
    Failure::failed(format!(
        "The server returned {answered}. Check that --url is the address of a Crossfade server."
    ))
}

/// Returns the innermost cause, which names what a person can fix.
pub(crate) fn root(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_what_the_server_asks_for_within_bounds() {
        let pause = |value: &str| {
            let mut headers = header::HeaderMap::new();
            headers.insert(header::RETRY_AFTER, value.parse().unwrap());
            super::pause(&headers).as_secs()
        };
        assert_eq!([pause("3"), pause("0"), pause("3600"), pause("soon"), pause("-1")], [3, 1, 10, 1, 1]);
        assert_eq!(super::pause(&header::HeaderMap::new()).as_secs(), 1);
    }

    #[test]
    fn a_name_stays_one_part_of_a_path() {
        assert_eq!(segment("staging"), "staging");
        assert_eq!(segment("../users"), "..%2Fusers");
        assert_eq!(segment("a?b#c"), "a%3Fb%23c");
        assert_eq!(segment(".."), "");
    }
}
