//! What the load asks for.

use crate::{
    Alg, Failure, fill,
    server::Server,
    wire::{form_request, token_request},
};
use clap::ValueEnum;
use std::sync::Arc;

/// Kind of request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Ask {
    /// A token, with credentials in the header.
    Token,
    /// A token, with credentials in the form.
    Form,
    /// A token for a wrong secret.
    Wrong,
    /// A token for an unknown client.
    Unknown,
    /// The introspection of a token of the client itself.
    Introspection,
}

/// Requests, and the statuses of the answers to them.
pub(crate) struct Asked {
    pub(crate) requests: Vec<Vec<u8>>,
    pub(crate) statuses: &'static [u16],
}

impl Asked {
    /// Prepares requests to a server that has this number of registrations.
    pub(crate) async fn prepare(
        ask: Ask,
        alg: Alg,
        registrations: usize,
        server: &Server,
    ) -> Result<Arc<Self>, Failure> {
        let environment = alg.environment();
        let mut requests = Vec::new();
        let mut answer = Vec::new();
        for (id, secret) in fill::asked(alg, registrations) {
            let (id, secret) = (id.as_str(), secret.reveal());
            requests.push(match ask {
                Ask::Token => token_request(environment, id, secret),
                Ask::Form => {
                    let form = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
                    form_request(environment, "token", None, &form)
                }
                Ask::Wrong => token_request(environment, id, &reversed(secret)),
                Ask::Unknown => token_request(environment, &reversed(id), secret),
                Ask::Introspection => {
                    server
                        .dialer
                        .dial()
                        .await?
                        .ask(&token_request(environment, id, secret), &mut answer)
                        .await?;
                    let body = String::from_utf8_lossy(&answer);
                    let token = body.split('"').skip_while(|part| *part != "access_token").nth(2);
                    let form = format!("token={}", token.ok_or("no token")?);
                    form_request(environment, "introspect", Some((id, secret)), &form)
                }
            });
        }
        let statuses: &[u16] = match ask {
            // Beyond the limit of a client and a network, the answer is 429.
            Ask::Wrong | Ask::Unknown => &[401, 429],
            Ask::Token | Ask::Form | Ask::Introspection => &[200],
        };
        Ok(Arc::new(Self { requests, statuses }))
    }
}

/// Returns a text of the same length that belongs to nobody.
fn reversed(text: &str) -> String {
    text.chars().rev().collect()
}
