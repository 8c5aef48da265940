//! A device with passkeys, and the script of the page that asks it. It shares no code with the library of the program, and can do
//! what no honest device does.

use super::browser::Browser;
use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

const ORIGIN: &str = "https://auth.example.com";
const HOST: &str = "auth.example.com";

/// Flags of a signature (WebAuthn §6.1).
const PRESENT: u8 = 0x01;
const VERIFIED: u8 = 0x04;
const HAS_KEY: u8 = 0x40;

/// A passkey.
pub struct Passkey {
    key: EcdsaKeyPair,
    pub id: Vec<u8>,
    pub handle: Vec<u8>,
}

/// How a passkey signs. The default is what an honest one does.
#[derive(Clone)]
pub struct Manner {
    pub origin: String,
    pub host: String,
    pub ceremony: &'static str,
    pub flags: u8,
    pub counter: u32,
    pub crosses_origins: bool,
    /// Whose passkey it says it is; `None`: its own handle.
    pub handle: Option<Option<Vec<u8>>>,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            origin: ORIGIN.to_owned(),
            host: HOST.to_owned(),
            ceremony: "webauthn.get",
            flags: PRESENT | VERIFIED,
            counter: 0,
            crosses_origins: false,
            handle: None,
        }
    }
}

impl Manner {
    /// The device asks for no PIN and no fingerprint.
    pub fn unverified() -> Self {
        Self { flags: PRESENT, ..Self::default() }
    }

    pub fn counting(counter: u32) -> Self {
        Self { counter, ..Self::default() }
    }
}

fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads bytes as the script of the page does.
fn decoded(value: &Value) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(value.as_str().unwrap()).unwrap()
}

fn client_data(manner: &Manner, ceremony: &str, request: &Value) -> Vec<u8> {
    let challenge = request["options"]["publicKey"]["challenge"].as_str().unwrap();
    let data = json!({
        "type": ceremony, "challenge": challenge, "origin": manner.origin, "crossOrigin": manner.crosses_origins,
    });
    data.to_string().into_bytes()
}

fn authenticator_data(manner: &Manner, flags: u8) -> Vec<u8> {
    let mut data = digest(&SHA256, manner.host.as_bytes()).as_ref().to_vec();
    data.push(flags);
    data.extend_from_slice(&manner.counter.to_be_bytes());
    data
}

impl Passkey {
    /// Makes a passkey for a request, and the answer.
    pub fn make(request: &Value, manner: &Manner) -> (Self, String) {
        let options = &request["options"]["publicKey"];
        assert_eq!(options["authenticatorSelection"]["userVerification"], "required", "{options}");
        assert_eq!(options["authenticatorSelection"]["residentKey"], "required", "{options}");
        assert_eq!((&options["attestation"], &options["rp"]["id"]), (&json!("none"), &json!(HOST)));
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let handle = decoded(&options["user"]["id"]);
        let id = digest(&SHA256, key.public_key().as_ref()).as_ref()[..20].to_vec();
        let passkey = Self { key, id, handle };
        let answer = passkey.attest(request, manner);
        (passkey, answer)
    }

    /// The answer to a request for a new passkey, with this one.
    pub fn attest(&self, request: &Value, manner: &Manner) -> String {
        let mut data = authenticator_data(manner, manner.flags | HAS_KEY);
        data.extend_from_slice(&[0; 16]);
        data.extend_from_slice(&(self.id.len() as u16).to_be_bytes());
        data.extend_from_slice(&self.id);
        // A key of COSE (RFC 9053 §7.1): EC2, ES256, P-256, and the point.
        let point = self.key.public_key().as_ref();
        data.extend_from_slice(&[0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20]);
        data.extend_from_slice(&point[1..33]);
        data.extend_from_slice(&[0x22, 0x58, 0x20]);
        data.extend_from_slice(&point[33..]);
        // A map of CBOR: fmt, attStmt and authData.
        let mut attestation = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x59".to_vec();
        attestation.extend_from_slice(&(data.len() as u16).to_be_bytes());
        attestation.extend_from_slice(&data);
        let response = json!({
            "clientDataJSON": encoded(&client_data(manner, "webauthn.create", request)),
            "attestationObject": encoded(&attestation),
            "transports": ["internal", "hybrid", "one-of-tomorrow"],
        });
        self.answer(&response)
    }

    /// The answer to a request for a signature.
    pub fn sign(&self, request: &Value, manner: &Manner) -> String {
        let options = &request["options"]["publicKey"];
        assert_eq!((&options["userVerification"], &options["rpId"]), (&json!("required"), &json!(HOST)));
        let client = client_data(manner, manner.ceremony, request);
        let data = authenticator_data(manner, manner.flags);
        let signed = [data.as_slice(), digest(&SHA256, &client).as_ref()].concat();
        let signature = self.key.sign(&SystemRandom::new(), &signed).unwrap();
        let handle = manner.handle.clone().unwrap_or_else(|| Some(self.handle.clone()));
        let response = json!({
            "clientDataJSON": encoded(&client),
            "authenticatorData": encoded(&data),
            "signature": encoded(signature.as_ref()),
            "userHandle": handle.map(|handle| encoded(&handle)),
        });
        self.answer(&response)
    }

    fn answer(&self, response: &Value) -> String {
        let id = encoded(&self.id);
        json!({"id": id, "rawId": id, "type": "public-key", "response": response}).to_string()
    }
}

/// Asks the server for a request, as the script of the page does.
pub async fn request(browser: &Browser<'_>, path: &str) -> Value {
    let answer = browser.script(path, &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}
