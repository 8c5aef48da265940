//! A whole instance inside a test: real database, real use cases, real router, and time as an argument.

use crate::database::Place;
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::ConnectInfo,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use crossfade_app::{AddressPolicy, App, Creation, NewToken, Options};
use crossfade_authority::{Clock, SystemRandom};
use crossfade_core::{Code, Operation, Timestamp};
use crossfade_store::Location;
use crossfade_web::TrustedProxies;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use serde_json::{Value, json};
use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;
use tower::ServiceExt;

/// The base of issuers in a test.
pub const PUBLIC_URL: &str = "https://auth.example.com";
/// Whose token most tests use.
pub const OWNER: &str = "owner@example.com";
/// Where time starts.
const START: i64 = 1_795_525_500;

/// Mounts a test once per engine. On PostgreSQL it ends early where there is no server to use.
macro_rules! on_both_engines {
    ($($(#[$meta:meta])* async fn $name:ident($world:ident: World) $body:block)+) => { $(
        $(#[$meta])*
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            async fn check($world: $crate::world::World) $body

            #[tokio::test]
            async fn sqlite() {
                check($crate::world::World::sqlite().await).await;
            }

            #[tokio::test]
            async fn postgres() {
                if let Some(world) = $crate::world::World::postgres().await {
                    check(world).await;
                }
            }
        }
    )+ };
}
pub(crate) use on_both_engines;

/// An instance, its clock, and its router.
pub struct World {
    pub clock: Arc<Clock>,
    pub app: Arc<App>,
    pub router: Router,
    proxies: TrustedProxies,
    location: Location,
    master_key_file: PathBuf,
    _directory: TempDir,
    place: Place,
}

impl World {
    /// On a SQLite file of its own.
    pub async fn sqlite() -> Self {
        Self::on(Place::file()).await
    }

    /// On a PostgreSQL database of its own, if there is a server.
    pub async fn postgres() -> Option<Self> {
        Some(Self::on(Place::database().await?).await)
    }

    async fn on(place: Place) -> Self {
        let clock = Clock::manual(Timestamp::from_seconds(START));
        Self::at(place, tempfile::tempdir().unwrap(), clock).await
    }

    /// On a database, with the master key in this directory if there is one.
    pub async fn at(place: Place, directory: TempDir, clock: Clock) -> Self {
        let master_key_file = directory.path().join("master.key");
        let clock = Arc::new(clock);
        let location = place.location.clone();
        let app = App::open(options(&location, &master_key_file, &clock)).await.unwrap();
        let router = router(&app, TrustedProxies::default());
        Self {
            clock,
            app,
            router,
            proxies: TrustedProxies::default(),
            location,
            master_key_file,
            _directory: directory,
            place,
        }
    }

    /// Believes forwarded headers from these networks.
    pub fn trust(&mut self, networks: &[&str]) {
        self.proxies = TrustedProxies(networks.iter().map(|network| network.parse().unwrap()).collect());
        self.router = router(&self.app, self.proxies.clone());
    }

    /// Moves time on.
    pub fn advance(&self, span: Duration) {
        self.clock.advance(span);
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Stops the process without any farewell and starts it again: what was only in memory is gone.
    pub async fn restart(&mut self) {
        self.restart_at(self.clock.now()).await;
    }

    /// Restarts with the machine's clock set to `time`.
    pub async fn restart_at(&mut self, time: Timestamp) {
        self.open_again(time, None).await;
    }

    /// The same where the start may be refused; then nothing runs until the next restart.
    pub async fn try_restart(&mut self) -> Result<(), crossfade_app::Error> {
        self.app.close().await;
        let clock = Arc::new(Clock::manual(self.clock.now()));
        self.app = App::open(options(&self.location, &self.master_key_file, &clock)).await?;
        self.clock = clock;
        self.router = router(&self.app, self.proxies.clone());
        Ok(())
    }

    /// Restarts with an audit retention in days.
    pub async fn restart_with_retention(&mut self, days: u32) {
        self.open_again(self.clock.now(), Some(days)).await;
    }

    /// The same where readings of evidence are kept for a while.
    pub async fn restart_with_readings_kept(&mut self, readings_kept: Duration) {
        let clock = Arc::new(Clock::manual(self.clock.now()));
        let options = options(&self.location, &self.master_key_file, &clock);
        self.open_with(Options { readings_kept, ..options }).await;
    }

    /// Restarts with another public URL.
    pub async fn restart_under(&mut self, public_url: &str) {
        let clock = Arc::new(Clock::manual(self.clock.now()));
        let options = options(&self.location, &self.master_key_file, &clock);
        self.open_with(Options { public_url: public_url.to_owned(), ..options }).await;
    }

    /// Opens the database as a local command does beside the server.
    pub async fn open_beside(&self) -> Result<Arc<App>, crossfade_app::Error> {
        let options = options(&self.location, &self.master_key_file, &self.clock);
        App::open(Options { decides: false, creation: Creation::Never, ..options }).await
    }

    async fn open_again(&mut self, time: Timestamp, audit_retention_days: Option<u32>) {
        let clock = Arc::new(Clock::manual(time));
        let options = options(&self.location, &self.master_key_file, &clock);
        self.open_with(Options { audit_retention_days, ..options }).await;
    }

    async fn open_with(&mut self, options: Options) {
        self.app.close().await;
        let clock = options.clock.clone();
        self.app = App::open(options).await.unwrap();
        self.clock = clock;
        self.router = router(&self.app, self.proxies.clone());
    }

    /// Does everything that is due in the background.
    pub async fn run_jobs(&self) {
        self.app.run_jobs().await.unwrap();
    }

    /// Runs the background jobs and returns their error.
    pub async fn try_jobs(&self) -> Result<(), crossfade_app::Error> {
        self.app.run_jobs().await
    }

    /// The Owner, created at the first call.
    pub async fn owner(&self) -> Caller<'_> {
        if !self.app.has_owner().await.unwrap() {
            self.app.create_owner(OWNER, "correct horse battery staple").await.unwrap();
        }
        self.token_of(OWNER, &[]).await
    }

    /// A user's token, limited to permissions unless there are none.
    pub async fn token_of(&self, user: &str, scope: &[&str]) -> Caller<'_> {
        let scope = scope.iter().map(|word| (*word).to_owned()).collect();
        let new = NewToken { user: user.to_owned(), name: "test".to_owned(), expires_days: None, scope };
        let token = self.app.create_token(&new).await.unwrap();
        Caller { world: self, token: Some(token.reveal().to_owned()) }
    }

    /// Another person with a role on the whole platform, written past the API, which makes no people yet.
    pub async fn user(&self, email: &str, role: &str) -> Caller<'_> {
        let number = self.number("SELECT COUNT(*) FROM users").await;
        let (at, name) = (self.now().as_micros(), email.split('@').next().unwrap());
        self.raw(&format!(
            "INSERT INTO users (id, kind, email, name, created_at, version)
             VALUES ('usr_{number:022}', 'person', '{email}', '{name}', {at}, 1);
             INSERT INTO grants (id, user_id, role, created_at)
             VALUES ('grant_{number:022}', 'usr_{number:022}', '{role}', {at})"
        ))
        .await;
        self.token_of(email, &[]).await
    }

    /// Runs SQL past the store.
    pub async fn raw(&self, sql: &str) {
        self.place.raw(sql).await;
    }

    /// Runs SQL past the store and returns the database's error.
    pub async fn try_raw(&self, sql: &str) -> Result<(), sqlx::Error> {
        self.place.try_raw(sql).await
    }

    /// Holds the lock that every write needs, until what comes back is dropped.
    pub async fn hold_writes(&self) -> Box<dyn Send> {
        self.place.hold_writes().await
    }

    /// Lets every commit fail that follows.
    pub async fn fail_commits(&self) {
        self.place.fail_commits().await;
    }

    /// Ends what [`Self::fail_commits`] began.
    pub async fn mend_commits(&self) {
        self.place.mend_commits().await;
    }

    /// Reads one number past the store.
    pub async fn number(&self, sql: &str) -> i64 {
        self.place.number(sql).await
    }

    /// Where everything is stored.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Path of the master key file.
    pub fn master_key_file(&self) -> &Path {
        &self.master_key_file
    }

    /// Nobody.
    pub fn anonymous(&self) -> Caller<'_> {
        Caller { world: self, token: None }
    }

    /// Sends a request as it is, from an address.
    pub async fn send(&self, mut request: Request<Body>, from: IpAddr) -> Answer {
        request.extensions_mut().insert(ConnectInfo(SocketAddr::new(from, 40_000)));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (mut parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap().to_vec();
        // Of each answer its own; what is left can be compared.
        let id = parts.headers.remove("x-request-id");
        let request_id = id.map(|id| id.to_str().unwrap().to_owned());
        Answer { status: parts.status, headers: parts.headers, bytes, request_id }
    }

    /// A property with a client in these environments.
    pub async fn client(&self, name: &str, environments: &[&str]) -> Client {
        let owner = self.owner().await;
        let property =
            owner.post("/properties", json!({"name": format!("Property of {name}")})).await.created();
        let body = json!({"name": name, "property_id": property["id"], "environments": environments, "owners": ["ada@example.com"]});
        let client = owner.post("/clients", body).await.created();
        Client {
            id: client["id"].as_str().unwrap().to_owned(),
            name: name.to_owned(),
            registrations: client["registrations"]
                .as_array()
                .unwrap()
                .iter()
                .map(Registration::read)
                .collect(),
        }
    }

    /// The OAuth endpoints of an environment, asked from 192.0.2.1 by "test/1.0".
    pub fn oauth(&self, environment: &str) -> Oauth<'_> {
        Oauth {
            world: self,
            environment: environment.to_owned(),
            from: IpAddr::from([192, 0, 2, 1]),
            agent: "test/1.0".to_owned(),
        }
    }
}

fn router(app: &Arc<App>, proxies: TrustedProxies) -> Router {
    crossfade_web::router(app.clone(), proxies, crossfade_web::Connections::default()).unwrap()
}

fn options(location: &Location, master_key_file: &Path, clock: &Arc<Clock>) -> Options {
    Options {
        location: location.clone(),
        master_key_file: master_key_file.to_owned(),
        public_url: PUBLIC_URL.to_owned(),
        clock: clock.clone(),
        random: Arc::new(SystemRandom),
        audit_retention_days: None,
        evidence_addresses: AddressPolicy::Full,
        fresh_sign_in: Duration::from_secs(600),
        readings_kept: Duration::ZERO,
        decides: true,
        creation: Creation::WithNewKey,
    }
}

/// A client that was created for a test.
#[derive(Clone, Debug)]
pub struct Client {
    pub id: String,
    pub name: String,
    pub registrations: Vec<Registration>,
}

/// One of its registrations, with its first secret.
#[derive(Clone, Debug)]
pub struct Registration {
    pub environment: String,
    pub client_id: String,
    pub secret_id: String,
    pub secret: String,
}

impl Registration {
    fn read(json: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self {
            environment: text(&json["environment"]),
            client_id: text(&json["client_id"]),
            secret_id: text(&json["secret"]["id"]),
            secret: text(&json["secret"]["value"]),
        }
    }
}

impl Client {
    /// Its registration in an environment.
    pub fn registration(&self, environment: &str) -> &Registration {
        self.registrations.iter().find(|it| it.environment == environment).unwrap()
    }

    /// `/clients/{client}/environments/{environment}` and what follows.
    pub fn path(&self, environment: &str, rest: &str) -> String {
        format!("/clients/{}/environments/{environment}{rest}", self.id)
    }

    /// The least that a rotation needs.
    pub fn rotation(&self, hours: impl Into<Value>) -> Value {
        json!({"transition_hours": hours.into(), "confirm_client_name": self.name})
    }
}

/// Somebody who calls the API.
#[derive(Clone)]
pub struct Caller<'w> {
    pub world: &'w World,
    pub token: Option<String>,
}

impl Caller<'_> {
    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None, &[]).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, Some(body.to_string()), &[]).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.call(Method::PATCH, path, Some(body.to_string()), &[]).await
    }

    pub async fn delete(&self, path: &str, body: Value) -> Answer {
        self.call(Method::DELETE, path, Some(body.to_string()), &[]).await
    }

    /// Any call, with headers; `path` stands under `/api/v1`.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("/api/v1{path}"));
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if body.is_some() && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        for (name, value) in headers {
            request =
                request.header(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
        }
        let method = request.method_ref().cloned().unwrap_or_default();
        let request = request.body(body.map_or_else(Body::empty, Body::from)).unwrap();
        let answer = self.world.send(request, IpAddr::from([192, 0, 2, 200])).await;
        is_documented(&method, path, &answer);
        answer
    }
}

/// Somebody who calls the OAuth endpoints.
#[derive(Clone)]
pub struct Oauth<'w> {
    pub world: &'w World,
    pub environment: String,
    pub from: IpAddr,
    pub agent: String,
}

impl Oauth<'_> {
    /// From another address and agent.
    pub fn from(mut self, address: [u8; 4], agent: &str) -> Self {
        self.from = IpAddr::from(address);
        self.agent = agent.to_owned();
        self
    }

    /// A token by `client_secret_basic`.
    pub async fn token(&self, client_id: &str, secret: &str) -> Answer {
        self.basic("token", client_id, secret, &[("grant_type", "client_credentials")]).await
    }

    /// A token by `client_secret_post`.
    pub async fn token_by_post(&self, client_id: &str, secret: &str) -> Answer {
        let form =
            [("grant_type", "client_credentials"), ("client_id", client_id), ("client_secret", secret)];
        self.form("token", &form, &[]).await
    }

    /// What introspection says of a token.
    pub async fn introspect(&self, client_id: &str, secret: &str, token: &str) -> Value {
        self.basic("introspect", client_id, secret, &[("token", token)]).await.ok()
    }

    /// A form with a `Basic` header.
    pub async fn basic(
        &self,
        endpoint: &str,
        client_id: &str,
        secret: &str,
        form: &[(&str, &str)],
    ) -> Answer {
        let basic = format!("Basic {}", STANDARD.encode(format!("{client_id}:{secret}")));
        self.form(endpoint, form, &[("authorization", &basic)]).await
    }

    /// A form with any headers.
    pub async fn form(&self, endpoint: &str, form: &[(&str, &str)], headers: &[(&str, &str)]) -> Answer {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let mut all = vec![("content-type", "application/x-www-form-urlencoded")];
        all.extend_from_slice(headers);
        self.raw(Method::POST, endpoint, body.into_bytes(), &all).await
    }

    /// Any request to an endpoint; `endpoint` may carry a query.
    pub async fn raw(
        &self,
        method: Method,
        endpoint: &str,
        body: Vec<u8>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/env/{}/oauth2/{endpoint}", self.environment))
            .header(header::USER_AGENT, &self.agent);
        for (name, value) in headers {
            request = request.header(
                HeaderName::try_from(*name).unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        self.world.send(request.body(Body::from(body)).unwrap(), self.from).await
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
    pub request_id: Option<String>,
}

impl Answer {
    /// The body as JSON; `null` when there is none.
    pub fn json(&self) -> Value {
        if self.bytes.is_empty() { Value::Null } else { serde_json::from_slice(&self.bytes).unwrap() }
    }

    /// The body of a 200.
    #[track_caller]
    pub fn ok(self) -> Value {
        self.expect(200)
    }

    /// The body of a 201.
    #[track_caller]
    pub fn created(self) -> Value {
        self.expect(201)
    }

    /// The body of an answer with this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.bytes));
        self.json()
    }

    /// The problem of a refusal with this status and code.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Value {
        assert_eq!(self.headers.get(header::CONTENT_TYPE).unwrap(), "application/problem+json");
        let problem = self.expect(status);
        assert_eq!(
            (problem["code"].as_str(), problem["status"].as_u64()),
            (Some(code), Some(u64::from(status))),
            "{problem}"
        );
        problem
    }

    /// Checks that this is a token.
    #[track_caller]
    pub fn is_token(&self) -> String {
        assert_eq!(self.status, StatusCode::OK, "{}", String::from_utf8_lossy(&self.bytes));
        self.json()["access_token"].as_str().unwrap().to_owned()
    }

    /// Checks that this is the one refusal of client authentication.
    #[track_caller]
    pub fn is_invalid_client(&self) {
        assert_eq!(self.status, StatusCode::UNAUTHORIZED, "{}", String::from_utf8_lossy(&self.bytes));
        assert_eq!(self.json()["error"], "invalid_client");
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Checks that an operation is only refused as its documentation says. So every test is a test of that.
fn is_documented(method: &Method, path: &str, answer: &Answer) {
    let path = path.split('?').next().unwrap();
    let matches = |operation: &&Operation| {
        let (own, asked) = (operation.path().split('/'), path.split('/'));
        operation.method().as_str() == method.as_str()
            && own.clone().count() == asked.clone().count()
            && own.zip(asked).all(|(own, asked)| own == asked || own.starts_with('{') && !asked.is_empty())
    };
    // A literal part wins over a parameter, as in the router.
    let found = Operation::ALL.iter().filter(matches).min_by_key(|it| it.parameters().count());
    let (Some(operation), true) = (found, answer.status.as_u16() >= 400) else { return };
    let code = answer.json()["code"].as_str().and_then(Code::parse).unwrap();
    assert!(operation.codes().contains(&code), "{operation:?} does not document {code:?}");
}
