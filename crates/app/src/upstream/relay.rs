//! Forwards the request of an authenticated client to the issuer that its environment is in front of.

use crate::{
    app::App,
    upstream::{opening::OpenedCredential, outcomes::UpstreamOutcome},
};
use crossfade_authority::{Client, Environment};
use crossfade_core::{
    OauthClientId,
    unregistered::{PassedMethod, PassedOutcome, PassedRequests},
    upstream::{Endpoint, Server, SlotState},
};
use crossfade_outbound::{
    Forward, Kept, Pass, PassedBody, Relay, RelayFailure, Relayed, SentCredential, SentSecret,
};
use http::{HeaderMap, HeaderValue, header::VIA};
use std::{net::IpAddr, time::Duration};

/// A request that is forwarded.
#[derive(Clone, Copy, Debug)]
pub struct Relaying<'a> {
    /// Server of the issuer that was asked for.
    pub server: &'a Server,
    /// Endpoint that was asked for.
    pub endpoint: Endpoint,
    /// Parameters without the authentication of the client.
    pub parameters: &'a Kept,
    /// Headers of the request.
    pub headers: &'a HeaderMap,
    /// Host and port that the request was sent to.
    pub host: Option<&'a str>,
}

/// Whom a request that is passed on is of, as it says itself.
#[derive(Clone, Debug)]
pub struct PassedClient {
    /// The client that it names; `None` if it names none.
    pub client_id: Option<OauthClientId>,
    /// How the client authenticates.
    pub method: PassedMethod,
    /// Address of the caller.
    pub ip: IpAddr,
}

/// A request of a client that is not registered. Has no `Debug`, which would show its secret.
#[derive(Clone)]
pub struct Passing<'a> {
    /// Server of the issuer that was asked for.
    pub server: &'a Server,
    /// Endpoint that was asked for.
    pub endpoint: Endpoint,
    /// Headers of the request.
    pub headers: &'a HeaderMap,
    /// How the caller authenticates in a header.
    pub authorization: Option<&'a HeaderValue>,
    /// The body.
    pub body: PassedBody,
    /// Host and port that the request was sent to.
    pub host: Option<&'a str>,
    /// The client; `None` if a browser asks for a page, which says nothing about the client.
    pub client: Option<PassedClient>,
}

impl App {
    /// Whether a request was already forwarded by this environment. It then has the upstream credential, which is no secret of
    /// ours, so this is asked first.
    pub fn has_passed(&self, environment: &Environment, headers: &HeaderMap) -> bool {
        let has_passed = headers.contains_key(VIA)
            && Relay::has_passed(headers, &self.pseudonym(environment.slug().as_str()));
        if has_passed {
            self.note_forwarded(environment, None, Some(RelayFailure::Loop));
        }
        has_passed
    }

    /// Forwards a request of an authenticated client. Must run to its end, also if the caller hangs up.
    pub async fn forward(
        &self,
        environment: &Environment,
        client: &Client,
        asked: Relaying<'_>,
    ) -> Result<Relayed, RelayFailure> {
        let answer = self.send_on(environment, client, asked).await;
        self.note_forwarded(environment, Some((client, asked.server)), answer.as_ref().err().copied());
        answer
    }

    /// Forwards a request of a client that is not registered, as it is. Must run to its end, also if the caller hangs up.
    pub async fn pass_on(
        &self,
        environment: &Environment,
        mut asked: Passing<'_>,
    ) -> Result<Relayed, RelayFailure> {
        let (endpoint, client) = (asked.endpoint, asked.client.take());
        let answer = self.send_as_is(environment, asked).await;
        // No line in the log: anyone can cause any number of them.
        self.relay.count_passed(answer.is_ok());
        if let Some(client) = client {
            self.note_passed(environment, client, passed_outcome(endpoint, answer.as_ref()));
        }
        answer
    }

    /// Notes what became of a request of a client that is not registered.
    fn note_passed(&self, environment: &Environment, client: PassedClient, outcome: PassedOutcome) {
        let PassedClient { client_id, method, ip } = client;
        let ip = self.node.addresses.kept(ip);
        let requests = PassedRequests::one(self.clock.now(), outcome, method, ip);
        self.unregistered.note(environment.slug(), client_id, requests);
    }

    async fn send_as_is(
        &self,
        environment: &Environment,
        asked: Passing<'_>,
    ) -> Result<Relayed, RelayFailure> {
        let url = asked.server.endpoint(asked.endpoint).ok_or(RelayFailure::NotReached)?;
        let to = self.relay.destination(url).ok_or(RelayFailure::NotReached)?;
        let request = Pass {
            to: &to,
            headers: asked.headers,
            further_headers: environment.upstream().map_or(&[][..], |upstream| &upstream.request_headers),
            authorization: asked.authorization,
            body: asked.body,
            host: asked.host,
            pseudonym: &self.pseudonym(environment.slug().as_str()),
        };
        self.relay.pass(request).await
    }

    async fn send_on(
        &self,
        environment: &Environment,
        client: &Client,
        asked: Relaying<'_>,
    ) -> Result<Relayed, RelayFailure> {
        let upstream = environment.upstream().ok_or(RelayFailure::NotReached)?;
        let url = asked.server.endpoint(asked.endpoint).ok_or(RelayFailure::NotReached)?;
        let to = self.relay.destination(url).ok_or(RelayFailure::NotReached)?;
        // The credential was confirmed for the origin of `url`, and perhaps for no other.
        let test_at = [Endpoint::Revocation, Endpoint::Token].into_iter().find_map(|endpoint| {
            let own = self.relay.destination(asked.server.endpoint(endpoint)?)?;
            (own.origin() == to.origin()).then_some((endpoint, own))
        });
        let opened = self.open_upstream_credential(client.registration(), to.origin());
        let OpenedCredential { registration, method, encoding, first, second } =
            opened.map_err(|_| RelayFailure::NoCredential)?;
        let secrets = std::iter::once(first).chain(second).map(|secret| SentSecret {
            slot: secret.slot,
            value: secret.value,
            set_at: secret.set_at,
        });
        let credential = SentCredential {
            registration: &registration,
            client_id: client.client_id().as_str(),
            method,
            encoding,
            secrets: secrets.collect(),
        };
        let request = Forward {
            endpoint: asked.endpoint,
            to: &to,
            test_at: test_at.as_ref().map(|(endpoint, to)| (*endpoint, &**to)),
            kind: upstream.kind,
            parameters: asked.parameters,
            headers: asked.headers,
            further_headers: &upstream.request_headers,
            host: asked.host,
            pseudonym: &self.pseudonym(environment.slug().as_str()),
        };
        let forwarded = self.relay.forward(request, &credential).await;
        for tried in forwarded.tried {
            let outcome = match (tried.state, tried.error) {
                (SlotState::Ok, _) => UpstreamOutcome::Accepted,
                (SlotState::Refused, error) => UpstreamOutcome::Refused(error.unwrap_or_default()),
                (SlotState::Unknown | SlotState::Untested, _) => UpstreamOutcome::Unknown,
            };
            self.note_upstream_outcome(&registration, tried.slot, tried.set_at, &outcome);
        }
        forwarded.answer
    }

    /// Returns how long the requests that wait for an issuer now can take; zero if there are none. A stop waits as long.
    pub fn longest_wait_for_issuers(&self) -> Duration {
        self.relay.longest_wait()
    }

    fn note_forwarded(
        &self,
        environment: &Environment,
        request: Option<(&Client, &Server)>,
        failure: Option<RelayFailure>,
    ) {
        self.relay.count(failure);
        if let Some(failure) = failure {
            let (environment, failure) = (environment.slug(), failure.as_str());
            let registration = request.map(|(client, _)| client.registration().as_str());
            let client_id = request.map(|(client, _)| client.client_id().as_str());
            let upstream_server = request.map(|(_, server)| server.name.as_str());
            tracing::warn!(
                %environment, registration, client_id, upstream_server, failure,
                "cannot forward a request to the issuer"
            );
        }
    }

    /// Returns the name of an environment in `Via`. It is the same on every node, so that a request that comes back through
    /// another one is recognised.
    pub(super) fn pseudonym(&self, environment: &str) -> String {
        format!("crossfade-{}-{environment}", self.mark())
    }
}

/// Reads what the issuer says about a client that is not registered. Only its token endpoint gives tokens.
fn passed_outcome(endpoint: Endpoint, answer: Result<&Relayed, &RelayFailure>) -> PassedOutcome {
    let Ok(answer) = answer else { return PassedOutcome::Failed };
    let status = answer.status.as_u16();
    let is_token = endpoint == Endpoint::Token && answer.has_access_token();
    match is_token || (endpoint != Endpoint::Token && answer.is_success()) {
        true => PassedOutcome::Accepted { status, is_token },
        false => PassedOutcome::Refused(status),
    }
}
