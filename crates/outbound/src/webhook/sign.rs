//! Signatures of deliveries (Standard Webhooks 1.0).

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::STANDARD};
use crossfade_core::{Random, webhook::SIGNING_SECRET_BYTES};
use std::fmt;
use zeroize::Zeroizing;

/// A secret that signs deliveries.
pub struct SigningSecret(Zeroizing<Vec<u8>>);

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret")
    }
}

impl SigningSecret {
    /// Returns a new secret.
    pub fn generate(random: &dyn Random) -> Self {
        let mut bytes = Zeroizing::new(vec![0; SIGNING_SECRET_BYTES]);
        random.fill(&mut bytes);
        Self(bytes)
    }

    /// Returns the secret of these bytes.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }

    /// Returns its bytes, to seal them.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the secret as a receiver is given it.
    pub fn text(&self) -> String {
        format!("whsec_{}", STANDARD.encode(&*self.0))
    }

    /// Returns the signature of a delivery at a time in seconds.
    fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &self.0));
        context.update(format!("{id}.{timestamp}.").as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign()))
    }
}

/// Returns the header `webhook-signature` of a delivery: one signature for each secret.
pub(super) fn signatures(secrets: &[SigningSecret], id: &str, timestamp: i64, body: &[u8]) -> String {
    let signed: Vec<String> = secrets.iter().map(|secret| secret.sign(id, timestamp, body)).collect();
    signed.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the libraries of Standard Webhooks.
    #[test]
    fn a_signature_is_that_of_the_standard() {
        let secret = SigningSecret::from_bytes(&STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap());
        let signed = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(secret.text(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let two = [SigningSecret::from_bytes(&[1; 32]), SigningSecret::from_bytes(&[2; 32])];
        let both = signatures(&two, "del_1", 1, b"{}");
        assert_eq!(both.split(' ').filter(|part| part.starts_with("v1,")).count(), 2);
    }
}
