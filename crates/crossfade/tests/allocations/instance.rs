//! An instance in this process, asked one request after another on this thread.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use crossfade_app::{
    AddressPolicy, App, Creation, DEFAULT_LEASE, NewToken, NodeOptions, Options, PasswordCost,
};
use crossfade_authority::{Clock, SystemRandom};
use crossfade_core::Timestamp;
use crossfade_store::Location;
use crossfade_web::{Arrival, Door, Routers, Transport};
use futures_util::FutureExt;
use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Where time starts.
const START: i64 = 1_795_525_500;
/// The environments, each with its signing algorithm.
const ENVIRONMENTS: [(&str, &str); 2] = [("eddsa", "EdDSA"), ("es256", "ES256")];

/// How a request authenticates.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Credentials {
    Basic,
    Form,
    WrongSecret,
    UnknownClient,
}

/// An instance with one client in each environment.
pub struct Instance {
    runtime: Runtime,
    door: Door,
    clock: Arc<Clock>,
    _directory: TempDir,
    /// `client_id`, secret and a token of the client of each environment.
    clients: HashMap<String, [String; 3]>,
}

/// A response, read to its end.
pub struct Answered {
    pub status: u16,
    body: Bytes,
}

impl Answered {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Instance {
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(Clock::manual(Timestamp::from_seconds(START)));
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
            node: NodeOptions { name: "here".to_owned(), lease: DEFAULT_LEASE },
            password_cost: PasswordCost { memory: 64, passes: 1 },
            readings_kept: Duration::ZERO,
            audit_sinks: Vec::new(),
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
                name: "test".into(),
                expires_days: None,
                scope: Vec::new(),
                only: None,
            };
            let token = app.create_token(&new).await.unwrap().reveal().to_owned();
            (app, token)
        });
        let door = Routers::new(app, Transport::default()).unwrap().everything();
        let mut instance = Self { runtime, door, clock, _directory: directory, clients: HashMap::new() };
        instance.create_clients(&token);
        instance
    }

    fn create_clients(&mut self, token: &str) {
        let property = self.create(token, "/properties", json!({"name": "Shop"}));
        for (slug, alg) in ENVIRONMENTS {
            let body = json!({"slug": slug, "name": slug, "kind": "live", "signing_alg": alg});
            self.create(token, "/environments", body);
        }
        let body = json!({
            "name": "Billing", "property_id": property["id"], "environments": ENVIRONMENTS.map(|(slug, _)| slug),
        });
        let client = self.create(token, "/clients", body);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        for registration in client["registrations"].as_array().unwrap() {
            let (id, secret) = (text(&registration["client_id"]), text(&registration["secret"]["value"]));
            let environment = text(&registration["environment"]);
            self.clients.insert(environment.clone(), [id, secret, String::new()]);
            let request = self.request(&environment, "token", Credentials::Basic);
            let issued: Value = serde_json::from_slice(&self.answer(request).body).unwrap();
            self.clients.get_mut(&environment).unwrap()[2] = text(&issued["access_token"]);
        }
    }

    fn create(&self, token: &str, path: &str, body: Value) -> Value {
        let request = Request::post(format!("/api/v1{path}"))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body.to_string())))
            .unwrap();
        let (status, body) = self.runtime.block_on(async {
            let answer = self.door.answer(request, arrival()).await;
            (answer.status(), answer.into_body().collect().await.unwrap().to_bytes())
        });
        assert_eq!(status, 201, "{}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap()
    }

    /// Returns a request as the server of connections passes it on. A second has passed since the last one, so that no
    /// failure is one too many.
    pub fn request(
        &self,
        environment: &str,
        endpoint: &str,
        credentials: Credentials,
    ) -> Request<Full<Bytes>> {
        self.clock.advance(Duration::from_secs(1));
        let [id, secret, token] = &self.clients[environment];
        let (id, secret) = match credentials {
            Credentials::WrongSecret => (id.as_str(), "wrong"),
            Credentials::UnknownClient => ("0000000000000000000000", secret.as_str()),
            Credentials::Basic | Credentials::Form => (id.as_str(), secret.as_str()),
        };
        let asked = match endpoint {
            "token" => "grant_type=client_credentials".to_owned(),
            _ => format!("token={token}"),
        };
        let mut request = Request::post(format!("/env/{environment}/oauth2/{endpoint}"))
            .header("host", "auth.example.com")
            .header("user-agent", "test/1.0")
            .header("content-type", "application/x-www-form-urlencoded");
        let body = match credentials {
            Credentials::Form => format!("{asked}&client_id={id}&client_secret={secret}"),
            _ => {
                let basic = STANDARD.encode(format!("{id}:{secret}"));
                request = request.header("authorization", format!("Basic {basic}"));
                asked
            }
        };
        request = request.header("content-length", body.len().to_string());
        request.body(Full::new(body.into())).unwrap()
    }

    /// Answers a request. Nothing that an OAuth endpoint asks is waited for, so that no other task runs meanwhile.
    pub fn answer(&self, request: Request<Full<Bytes>>) -> Answered {
        let _entered = self.runtime.enter();
        let answer = async {
            let mut response = self.door.answer(request, arrival()).await;
            // As HTTP reads it: a frame at a time, without collecting.
            let body = response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
            assert!(response.body_mut().frame().await.is_none());
            Answered { status: response.status().as_u16(), body }
        };
        answer.now_or_never().unwrap()
    }
}

fn arrival() -> Arrival {
    Arrival::new(SocketAddr::from(([192, 0, 2, 1], 40_000)), true)
}
