//! A provider inside a test, honest or hostile: it signs what it is told, records every request, and answers as it is told.

use crate::listener::Listener;
use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{Ed25519KeyPair, KeyPair},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as B64},
};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The client secret of Crossfade at every provider here.
pub const SECRET: &str = "canary+secret:of/crossfade";
pub const CLIENT_ID: &str = "cross fade";

/// What a code is redeemed for.
struct Code {
    challenge: String,
    redirect_uri: String,
    id_token: String,
}

#[derive(Default)]
struct State {
    issuer: String,
    keys: Vec<(String, Ed25519KeyPair)>,
    codes: HashMap<String, Code>,
    /// Members of the metadata that are other than usual; `null`: left out.
    metadata: Value,
    user_info: Value,
    /// Whether every request fails.
    is_down: bool,
    /// Whether the client secret is refused.
    refuses: bool,
    seen: Vec<String>,
}

pub struct Idp {
    listener: Listener<State>,
}

impl Idp {
    pub async fn start() -> Self {
        let idp = Self { listener: Listener::start(serve).await };
        let issuer = idp.url("");
        idp.listener.with(|state| state.issuer = issuer);
        idp.roll("first");
        idp
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.listener.port)
    }

    /// Publishes this key alone, and signs with it.
    pub fn roll(&self, kid: &str) {
        self.listener.with(|state| state.keys = vec![(kid.to_owned(), Ed25519KeyPair::generate().unwrap())]);
    }

    pub fn set_metadata(&self, metadata: Value) {
        self.listener.with(|state| state.metadata = metadata);
    }

    pub fn set_user_info(&self, claims: Value) {
        self.listener.with(|state| state.user_info = claims);
    }

    pub fn set_down(&self, is_down: bool) {
        self.listener.with(|state| state.is_down = is_down);
    }

    pub fn refuse(&self, refuses: bool) {
        self.listener.with(|state| state.refuses = refuses);
    }

    /// Returns the requests since the last call.
    pub fn take(&self) -> Vec<String> {
        self.listener.with(|state| std::mem::take(&mut state.seen))
    }

    /// Signs claims.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        self.listener.with(|state| {
            let (kid, pair) = &state.keys[0];
            let mut all = json!({"alg": "EdDSA", "kid": kid});
            all.as_object_mut().unwrap().extend(header.as_object().unwrap().clone());
            let input = format!("{}.{}", B64.encode(all.to_string()), B64.encode(claims.to_string()));
            let signature = B64.encode(pair.sign(input.as_bytes()));
            format!("{input}.{signature}")
        })
    }

    /// Gives a code for an ID token, to a person who was sent with these parameters.
    pub fn give(&self, asked: &HashMap<String, String>, id_token: String) -> String {
        let code = Code {
            challenge: asked["code_challenge"].clone(),
            redirect_uri: asked["redirect_uri"].clone(),
            id_token,
        };
        self.listener.with(|state| {
            let name = format!("canary-code-{}", state.codes.len());
            state.codes.insert(name.clone(), code);
            name
        })
    }
}

fn answer(status: u16, body: &Value) -> String {
    let body = body.to_string();
    let length = body.len();
    format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

fn respond(state: &mut State, text: &str) -> String {
    let path = text.split(' ').nth(1).unwrap_or_default();
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    if state.is_down {
        return answer(500, &json!({}));
    }
    match path {
        "/.well-known/openid-configuration" => {
            let issuer = &state.issuer;
            let mut document = json!({
                "issuer": issuer, "authorization_endpoint": format!("{issuer}/authorize"),
                "token_endpoint": format!("{issuer}/token"), "jwks_uri": format!("{issuer}/jwks"),
                "userinfo_endpoint": format!("{issuer}/userinfo"), "end_session_endpoint": format!("{issuer}/end"),
                "authorization_response_iss_parameter_supported": true,
            });
            for (name, value) in state.metadata.as_object().into_iter().flatten() {
                match value {
                    Value::Null => drop(document.as_object_mut().unwrap().remove(name)),
                    value => document[name] = value.clone(),
                }
            }
            answer(200, &document)
        }
        "/jwks" => {
            let key = |(kid, pair): &(String, Ed25519KeyPair)| {
                let x = B64.encode(pair.public_key().as_ref());
                json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "use": "sig", "alg": "EdDSA"})
            };
            answer(200, &json!({"keys": state.keys.iter().map(key).collect::<Vec<_>>()}))
        }
        "/userinfo" => answer(200, &state.user_info),
        "/token" => {
            let form: HashMap<String, String> =
                form_urlencoded::parse(body.as_bytes()).into_owned().collect();
            let basic = text.lines().find_map(|line| line.strip_prefix("authorization: Basic "));
            let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let right = STANDARD.encode(format!("{}:{}", encode(CLIENT_ID), encode(SECRET)));
            if basic != Some(&right) || state.refuses {
                return answer(401, &json!({"error": "invalid_client", "error_description": "canary"}));
            }
            let Some(code) = form.get("code").and_then(|code| state.codes.remove(code)) else {
                return answer(400, &json!({"error": "invalid_grant"}));
            };
            let challenge = B64.encode(digest(&SHA256, form["code_verifier"].as_bytes()));
            let is_right = challenge == code.challenge && form["redirect_uri"] == code.redirect_uri;
            match is_right && form["grant_type"] == "authorization_code" {
                true => answer(
                    200,
                    &json!({"id_token": code.id_token, "access_token": "canary-access", "token_type": "Bearer"}),
                ),
                false => answer(400, &json!({"error": "invalid_grant"})),
            }
        }
        _ => answer(404, &json!({})),
    }
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let (mut read, mut chunk) = (Vec::new(), [0; 65_536]);
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        let complete = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            body.len() >= length.unwrap_or(0)
        });
        if complete {
            let answer = {
                let mut state = state.lock().unwrap();
                state.seen.push(text.clone());
                respond(&mut state, &text)
            };
            let _ = stream.write_all(answer.as_bytes()).await;
            return;
        }
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(length) => read.extend_from_slice(&chunk[..length]),
        }
    }
}
