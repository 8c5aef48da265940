//! An instance in this process, as the targets send requests to it.

use axum::body::{Body, to_bytes};
use base64::{Engine, engine::general_purpose::STANDARD};
use crossfade_app::{
    AddressPolicy, App, Creation, DEFAULT_LEASE, NewToken, NodeOptions, Options, PasswordCost,
};
use crossfade_authority::{Clock, SystemRandom};
use crossfade_core::Timestamp;
use crossfade_store::Location;
use crossfade_web::{Arrival, Door, Routers, Transport, TrustedProxies};
use http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};
use std::{cell::RefCell, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Requests after which an instance is replaced, so that what they leave behind stays small.
const REQUESTS_PER_INSTANCE: u32 = 20_000;

thread_local! {
    static INSTANCE: RefCell<Option<Instance>> = const { RefCell::new(None) };
}

/// A server without a socket, with one client in production.
pub struct Instance {
    runtime: Runtime,
    door: Door,
    clock: Arc<Clock>,
    pub directory: TempDir,
    pub token: String,
    pub property: String,
    pub client: String,
    pub client_id: String,
    pub secret: String,
    pub secret_id: String,
    /// Cookies of a session of the Owner.
    pub cookies: String,
    requests: u32,
}

/// An answer, read to its end.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// Runs something with the instance of this thread.
pub fn with_instance<T>(run: impl FnOnce(&mut Instance) -> T) -> T {
    INSTANCE.with_borrow_mut(|slot| {
        if slot.as_ref().is_some_and(|instance| instance.requests > REQUESTS_PER_INSTANCE) {
            *slot = None;
        }
        run(slot.get_or_insert_with(Instance::new))
    })
}

impl Instance {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(Clock::manual(Timestamp::from_seconds(1_795_525_500)));
        let options = Options {
            location: Location::File(directory.path().join("crossfade.db")),
            master_key: directory.path().join("master.key").as_path().into(),
            public_url: "https://auth.example.com".to_owned(),
            admin_url: "https://auth.example.com".to_owned(),
            clock: clock.clone(),
            random: Arc::new(SystemRandom),
            audit_retention_days: None,
            evidence_addresses: AddressPolicy::Full,
            fresh_sign_in: Duration::from_secs(600),
            // A sign-in is to take as long as other requests.
            node: NodeOptions { name: "here".to_owned(), lease: DEFAULT_LEASE },
            password_cost: PasswordCost { memory: 64, passes: 1 },
            readings_kept: Duration::ZERO,
            audit_sinks: vec![],
            journal: None,
            mailer: None,
            poster: Arc::default(),
            relay: Default::default(),
            decides: true,
            creation: Creation::WithNewKey,
        };
        let (app, token) = runtime.block_on(async {
            let app = App::open(options).await.unwrap();
            app.create_owner("owner@example.com", "correct horse battery staple").await.unwrap();
            let new = NewToken {
                user: "owner@example.com".into(),
                name: "fuzz".into(),
                expires_days: None,
                scope: vec![],
                only: None,
            };
            let token = app.create_token(&new).await.unwrap().reveal().to_owned();
            (app, token)
        });
        let proxies = TrustedProxies(vec!["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()]);
        let transport = Transport { proxies, ..Transport::default() };
        let door = Routers::new(app, transport).unwrap().everything();
        let mut instance = Self {
            runtime,
            door,
            clock,
            directory,
            token,
            property: String::new(),
            client: String::new(),
            client_id: String::new(),
            secret: String::new(),
            secret_id: String::new(),
            cookies: String::new(),
            requests: 0,
        };
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        instance.property = text(&instance.create("/properties", json!({"name": "Shop"}))["id"]);
        let body =
            json!({"name": "Billing", "property_id": instance.property, "environments": ["production"]});
        let client = instance.create("/clients", body);
        instance.client = text(&client["id"]);
        let registration = &client["registrations"][0];
        instance.client_id = text(&registration["client_id"]);
        instance.secret = text(&registration["secret"]["value"]);
        instance.secret_id = text(&registration["secret"]["id"]);
        instance.cookies = instance.sign_in();
        instance
    }

    fn sign_in(&mut self) -> String {
        let request = Request::post("/console/sign-in")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from("email=owner%40example.com&password=correct+horse+battery+staple"));
        let answer = self.send(request.unwrap());
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", String::from_utf8_lossy(&answer.body));
        let set = answer.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap());
        set.map(|cookie| cookie.split(';').next().unwrap()).collect::<Vec<_>>().join("; ")
    }

    fn create(&mut self, path: &str, body: Value) -> Value {
        let request = Request::post(format!("/api/v1{path}"))
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()));
        let answer = self.send(request.unwrap());
        assert_eq!(answer.status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&answer.body));
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// Puts the values of this instance where a text names them, so that a corpus is good for every instance.
    pub fn fill(&self, text: &[u8]) -> Vec<u8> {
        let text = String::from_utf8_lossy(text);
        if !text.contains('{') {
            return text.into_owned().into_bytes();
        }
        let basic = STANDARD.encode(format!("{}:{}", self.client_id, self.secret));
        let names = [
            ("{basic}", &basic),
            ("{property}", &self.property),
            ("{client}", &self.client),
            ("{id}", &self.client_id),
            ("{secret}", &self.secret),
            ("{sec}", &self.secret_id),
            ("{token}", &self.token),
            ("{cookies}", &self.cookies),
        ];
        names.iter().fold(text.into_owned(), |text, (name, value)| text.replace(name, value)).into_bytes()
    }

    /// Sends a request from a declared proxy. Nothing that a stranger sends may fail inside the server. A request that
    /// waits, for example a sign-in after many failed ones, waits for simulated time.
    pub fn send(&mut self, request: Request<Body>) -> Answer {
        self.requests += 1;
        let arrival = Arrival::new(SocketAddr::from(([127, 0, 0, 1], 50_000)), false);
        let shown = format!("{} {}", request.method(), request.uri());
        let (status, headers, body) = self.runtime.block_on(async {
            let answered = async {
                let answer = self.door.answer(request, arrival).await;
                let (parts, body) = answer.into_parts();
                (parts.status, parts.headers, to_bytes(Body::new(body), 1 << 24).await.unwrap().to_vec())
            };
            let time_passes = async {
                loop {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    self.clock.advance(Duration::from_secs(1));
                }
            };
            tokio::select! {
                answer = answered => answer,
                () = time_passes => unreachable!("time does not end"),
            }
        });
        let unavailable = status == StatusCode::SERVICE_UNAVAILABLE;
        assert!(
            !status.is_server_error() || unavailable,
            "{shown}: {status} {}",
            String::from_utf8_lossy(&body)
        );
        assert_eq!(
            headers.get("x-content-type-options").map(|value| value.as_bytes()),
            Some(&b"nosniff"[..]),
            "{shown}"
        );
        Answer { status, headers, body }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// Splits an input into its parts, which an empty line separates; the last has what is left.
pub fn parts<const N: usize>(data: &[u8]) -> [&[u8]; N] {
    let mut rest = data;
    std::array::from_fn(|at| {
        let end = if at + 1 == N { None } else { rest.windows(2).position(|pair| pair == b"\n\n") };
        let (part, after) = end.map_or((rest, &[][..]), |end| (&rest[..end], &rest[end + 2..]));
        rest = after;
        part
    })
}

/// Adds headers, one a line; leaves out what is not a header.
pub fn with_headers(mut request: http::request::Builder, lines: &[u8]) -> http::request::Builder {
    for line in lines.split(|byte| *byte == b'\n').take(20) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = http::HeaderName::from_bytes(&line[..colon]);
        let value = http::HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            request = request.header(name, value);
        }
    }
    request
}

/// One of a few methods, by a byte.
pub fn method(byte: u8) -> Method {
    match byte {
        b'G' => Method::GET,
        b'P' => Method::PATCH,
        b'D' => Method::DELETE,
        b'U' => Method::PUT,
        _ => Method::POST,
    }
}
