//! Leads a person to a provider, and takes them back: to sign in, to confirm a session, or to link an account.

use super::{
    people::{Found, Person, check_provisioned, find, has_own_address},
    refusal::Refusal,
    state::{Pending, ProviderPurpose},
};
use crate::{
    app::App,
    error::Error,
    frame::{
        act::Act,
        entry::{About, Author},
        principal::by_session_digest,
    },
    keys::place::SealPlace,
    people::{
        sessions::{Begun, Session, Visitor, author_in},
        sign_in::NewSession,
    },
};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use crossfade_core::{
    Code, Problem, ProviderId, SessionId,
    address::wide_network,
    audit::{Actor, Event},
    ended::Hex,
    provider::{Expected, GroupsFrom, TokenFault, groups_in, is_fresh, read_id_token},
    secret::{SecretKind, SecretValue},
};
use crossfade_outbound::{Authorization, ProviderClient, ProviderLink, Providers, Redemption};
use crossfade_store::{IdentityRow, Provider, Tx, User};
use serde_json::{Map, Value, json};
use std::{str, time::Duration};
use tokio::time::{Instant, timeout};
use zeroize::Zeroizing;

/// Maximum length of a code.
const MAX_CODE: usize = 4096;
/// How long everything that a provider is asked for one sign-in can take.
const ASKED_WITHIN: Duration = Duration::from_secs(20);

/// Where a person is sent, and what their browser keeps.
pub struct Departure {
    /// URL at the provider.
    pub url: String,
    /// State, which names the cookie.
    pub state: String,
    /// Value of the cookie.
    pub cookie: String,
}

/// What a browser brings back from a provider.
#[derive(Clone, Copy)]
pub struct Return<'a> {
    /// ID of the provider, in the path.
    pub provider: &'a str,
    /// State.
    pub state: &'a str,
    /// Code to redeem.
    pub code: Option<&'a str>,
    /// Error of the provider.
    pub error: Option<&'a str>,
    /// Issuer of the answer.
    pub issuer: Option<&'a str>,
    /// Value of the cookie of the state.
    pub cookie: &'a str,
    /// Session of the browser.
    pub session: Option<&'a Session>,
    /// The visitor.
    pub visitor: &'a Visitor,
}

/// What a return from a provider led to.
pub enum Arrival {
    /// The person is signed in.
    SignedIn {
        /// The new session.
        session: Box<NewSession>,
        /// Page to go to.
        to: String,
    },
    /// The session is confirmed. Its cookie gets a new value.
    Confirmed {
        /// New value of the cookie.
        value: SecretValue,
        /// Page to go to.
        to: String,
    },
    /// The account is linked with the provider.
    Linked,
    /// It failed.
    Refused(RefusedSignIn),
}

/// Why a sign-in with a provider failed, for its page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RefusedSignIn {
    /// Sentences for the person.
    pub sentence: String,
    /// HTTP status.
    pub status: u16,
    /// Page that the person wanted to go to.
    pub to: String,
}

/// What the transaction of a sign-in ends with, if it is not refused.
type Decided<T> = Result<Result<T, Refusal>, Error>;

impl App {
    /// Returns where a person is sent. `to` is a page of our own to return to.
    pub async fn begin_provider_sign_in(
        &self,
        provider: &str,
        purpose: ProviderPurpose,
        to: &str,
        visitor: &Visitor,
    ) -> Result<Result<Departure, RefusedSignIn>, Error> {
        self.unless_many_sign_ins(visitor).await?;
        let provider = self.provider_for(provider, visitor).await?;
        let metadata = match self.providers.metadata(&provider.issuer).await {
            Ok(metadata) => metadata,
            Err(failure) => {
                let refused = self.refuse(&provider, &failure.into(), visitor, to).await?;
                return Ok(Err(refused));
            }
        };
        let again = matches!(purpose, ProviderPurpose::Confirm(_));
        let pending = Pending::new(self.random.as_ref(), purpose, to.to_owned(), self.clock.now());
        let url = Providers::authorization_url(
            &metadata,
            Authorization {
                client_id: &provider.client_id,
                redirect_uri: &self.redirect_uri(&provider.id),
                scopes: &provider.scopes,
                state: &pending.state,
                nonce: &pending.nonce,
                challenge: &pending.challenge(),
                acr_values: &provider.acr_values,
                again,
            },
        );
        let cookie = self.sign_in_states.seal(&provider.id, &pending)?;
        Ok(Ok(Departure { url, cookie, state: pending.state }))
    }

    /// Takes a person back from a provider.
    pub async fn end_provider_sign_in(&self, back: Return<'_>) -> Result<Arrival, Error> {
        let provider = self.provider_for(back.provider, back.visitor).await?;
        let opened = self.sign_in_states.open(&provider.id, back.cookie);
        let is_same = |pending: &Pending| {
            verify_slices_are_equal(pending.state.as_bytes(), back.state.as_bytes()).is_ok()
                && pending.is_current(self.clock.now())
        };
        let Some(pending) = opened.filter(is_same) else {
            // Anybody can send that, so it is in no trail, and counts against those who begin sign-ins.
            self.unless_many_sign_ins(back.visitor).await?;
            tracing::debug!(provider = %provider.id, "a sign-in came back that was not begun");
            let refusal = Refusal::State;
            let (sentence, status) = (refusal.sentence(provider.name.as_str()), refusal.status());
            return Ok(Arrival::Refused(RefusedSignIn { sentence, status, to: "/console".to_owned() }));
        };
        let asked = timeout(ASKED_WITHIN, self.person_at(&provider, &pending, &back)).await;
        let late = || Ok(Err(Refusal::Unreachable("the provider did not answer in time".to_owned())));
        let decided = match asked.unwrap_or_else(|_| late())? {
            Ok(person) => match &pending.purpose {
                ProviderPurpose::SignIn => {
                    self.sign_in_as(&provider, &person, &pending, back.visitor).await?
                }
                ProviderPurpose::Confirm(session) => {
                    self.confirm_as(&provider, &person, &pending, (session, &back)).await?
                }
                ProviderPurpose::Link(session) => self.link_as(&provider, &person, (session, &back)).await?,
            },
            Err(refusal) => Err(refusal),
        };
        match decided {
            Ok(arrival) => Ok(arrival),
            Err(refusal) => {
                Ok(Arrival::Refused(self.refuse(&provider, &refusal, back.visitor, &pending.to).await?))
            }
        }
    }

    /// Refuses a network from which many sign-ins with providers were begun. A known browser has a pace of its own, so that
    /// nobody in its network keeps it from signing in.
    async fn unless_many_sign_ins(&self, visitor: &Visitor) -> Result<(), Error> {
        let now = Instant::now();
        if self.provider_sign_ins.admit(&wide_network(visitor.address()).to_string(), now) {
            return Ok(());
        }
        for value in &visitor.devices {
            let digest = self.digests.device(value.reveal());
            let look = async |tx: &mut Tx| Ok(tx.device(&digest, self.clock.now()).await?);
            let is_known = self.look_up_visitor(visitor, look).await?.is_some();
            if is_known
                && self.provider_sign_ins.admit(&format!("browser {}", String::from(Hex(digest))), now)
            {
                return Ok(());
            }
        }
        let text = "Too many sign-ins with providers from your network. Nothing was changed. Try again in 2 seconds.";
        Err(Problem::new(Code::TooManyRequests, text).retry_after(2).into())
    }

    /// Returns a provider that people can sign in with.
    pub(super) async fn provider_for(&self, id: &str, visitor: &Visitor) -> Result<Provider, Error> {
        let id = ProviderId::parse(id).map_err(|_| Problem::not_found())?;
        let look = async |tx: &mut Tx| Ok(tx.provider(&id).await?);
        let provider = self.look_up_visitor(visitor, look).await?;
        provider.filter(|it| it.disabled_at.is_none()).ok_or_else(|| Problem::not_found().into())
    }

    /// Records why a sign-in failed, and returns that for its page.
    async fn refuse(
        &self,
        provider: &Provider,
        refusal: &Refusal,
        visitor: &Visitor,
        to: &str,
    ) -> Result<RefusedSignIn, Error> {
        if refusal.is_of_provider() {
            tracing::warn!(provider = %provider.id, reason = refusal.word(), cause = refusal.cause(), "a sign-in with a provider failed");
        }
        let actor = Actor::Unknown { id: String::new(), name: format!("somebody from {}", provider.name) };
        let who = (actor, Some(provider.id.to_string()));
        self.audit_refused_arrival(who, (refusal.word(), 1), visitor, None).await?;
        let sentence = refusal.sentence(provider.name.as_str());
        Ok(RefusedSignIn { sentence, status: refusal.status(), to: to.to_owned() })
    }

    /// Asks a provider who came back.
    async fn person_at(&self, provider: &Provider, pending: &Pending, back: &Return<'_>) -> Decided<Person> {
        if let Some(error) = back.error {
            let is_plain = (1..=64).contains(&error.len())
                && error.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            let word = if is_plain { error } else { "an error" };
            return Ok(Err(Refusal::Declined(word.to_owned())));
        }
        let metadata = match self.providers.metadata(&provider.issuer).await {
            Ok(metadata) => metadata,
            Err(failure) => return Ok(Err(failure.into())),
        };
        let is_of_issuer = back.issuer.map_or(!metadata.names_issuer, |issuer| issuer == provider.issuer);
        if !is_of_issuer {
            return Ok(Err(Refusal::MixUp));
        }
        let Some(code) = back.code.filter(|code| (1..=MAX_CODE).contains(&code.len())) else {
            return Ok(Err(Refusal::Declined("no code".to_owned())));
        };
        let secret = match &provider.client_secret {
            None => None,
            Some(sealed) => {
                let opened = self.vault.open(&SealPlace::Provider { id: &provider.id }, sealed)?;
                Some(Zeroizing::new(str::from_utf8(&opened).map_err(Error::internal)?.to_owned()))
            }
        };
        let client = ProviderClient {
            issuer: &provider.issuer,
            client_id: &provider.client_id,
            authentication: provider.client_authentication,
            secret,
        };
        let redirect_uri = self.redirect_uri(&provider.id);
        let code = Redemption { code, redirect_uri: &redirect_uri, verifier: &pending.verifier };
        let tokens = match self.providers.redeem(&client, code).await {
            Ok(tokens) => tokens,
            Err(failure) => return Ok(Err(failure.into())),
        };
        let link = ProviderLink::TokenEndpoint;
        let verified = match self.providers.verify(&provider.issuer, &tokens.id_token, link).await {
            Ok(verified) => verified,
            Err(failure) => return Ok(Err(failure.into())),
        };
        // A logout token is signed by the same keys for the same client.
        if verified.typ.as_deref().is_some_and(|typ| typ.eq_ignore_ascii_case("logout+jwt")) {
            return Ok(Err(TokenFault::Malformed.into()));
        }
        let now = self.clock.now();
        let expected = Expected { issuer: &provider.issuer, client_id: &provider.client_id, now };
        let token = match read_id_token(&verified.claims, expected, &pending.nonce) {
            Ok(token) => token,
            Err(fault) => return Ok(Err(fault.into())),
        };
        if !verified.belongs_to(tokens.access_token.as_ref().map(|token| token.as_str())) {
            return Ok(Err(TokenFault::AccessToken.into()));
        }
        let has_acr = token.acr.as_ref().is_some_and(|acr| provider.acr_values.contains(acr));
        if !provider.acr_values.is_empty() && !has_acr {
            return Ok(Err(TokenFault::Acr.into()));
        }
        let mut claims = verified.claims;
        let external_id = claims.get(&provider.external_id_claim).and_then(Value::as_str).map(str::to_owned);
        let by_claim = provider.groups_from == GroupsFrom::Claim;
        let groups = match groups_in(&claims, &provider.groups_claim) {
            Ok(groups) => groups,
            Err(_) if !by_claim => None,
            Err(fault) => return Ok(Err(fault.into())),
        };
        let needs_groups = by_claim && groups.is_none() && !provider.group_grants.is_empty();
        if needs_groups || !claims.contains_key("email") {
            match self.more_of(provider, &token.subject, tokens.access_token.as_ref()).await {
                Ok(more) => {
                    for (name, value) in more {
                        claims.entry(name).or_insert(value);
                    }
                }
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        let groups = match provider.groups_from {
            GroupsFrom::Provisioning => Vec::new(),
            GroupsFrom::Claim => match groups_in(&claims, &provider.groups_claim) {
                Ok(groups) => groups.unwrap_or_default(),
                Err(fault) => return Ok(Err(fault.into())),
            },
        };
        let text = |name: &str| claims.get(name).and_then(Value::as_str).map(str::to_owned);
        Ok(Ok(Person {
            external_id,
            email: text("email"),
            email_verified: claims.get("email_verified") == Some(&Value::Bool(true)),
            name: text("name"),
            groups,
            token,
        }))
    }

    /// Returns what the provider says of a person beyond the ID token. It must be the same person (OpenID Connect Core
    /// §5.3.2).
    async fn more_of(
        &self,
        provider: &Provider,
        subject: &str,
        access_token: Option<&Zeroizing<String>>,
    ) -> Result<Map<String, Value>, Refusal> {
        let Some(access_token) = access_token else { return Ok(Map::new()) };
        let Some(mut claims) = self.providers.user_info(&provider.issuer, access_token).await? else {
            return Ok(Map::new());
        };
        match claims.get("sub").and_then(Value::as_str) == Some(subject) {
            true => {
                // Only what is about the person: the token itself is the ID token.
                claims.retain(|name, _| {
                    !["iss", "aud", "sub", "exp", "iat", "nonce", "azp", "sid", "acr", "auth_time"]
                        .contains(&name.as_str())
                });
                Ok(claims)
            }
            false => Err(TokenFault::Subject.into()),
        }
    }

    /// Signs a person in, and creates the account at the first sign-in.
    async fn sign_in_as(
        &self,
        provider: &Provider,
        person: &Person,
        pending: &Pending,
        visitor: &Visitor,
    ) -> Decided<Arrival> {
        // Restored settings may be older than the end of a provider, and a sign-in gives roles.
        self.node.unless_quarantined()?;
        let session = self
            .node
            .transact(async |tx, now| {
                let Some(provider) = same_provider(tx, provider).await? else {
                    return Ok(Err(Refusal::State));
                };
                let found = match find(tx, &provider, person, pending.at).await? {
                    Ok(found) => found,
                    Err(refusal) => return Ok(Err(refusal)),
                };
                let is_provisioned = matches!(found, Found::Provisioned(_));
                let id = SessionId::generate(self.random.as_ref());
                let policy = Author::from(policy(&provider)).at(&visitor.origin);
                let mut act = self.act(tx, now, policy);
                let (user, is_new) = self.account_of(found, person, &act)?;
                if is_new {
                    self.create_account(&mut act, &user).await?;
                }
                if is_new || is_provisioned {
                    self.link_created(&mut act, &provider, &user, person).await?;
                }
                let groups = groups_of(act.tx, &provider, &user, person).await?;
                self.settle_groups(&mut act, &provider, &user, &groups, None).await?;
                act.tx.touch_identity(&provider.id, person.known_as(), now).await?;
                let mut act = self.act(tx, now, author_in(&id, &user, visitor));
                let is_new_browser = !self.knows_browser(act.tx, &user.id, visitor, now).await?;
                let begun = Begun::Provider {
                    id: provider.id.clone(),
                    authenticated_at: person.token.auth_time.map(|at| at.min(now)),
                };
                let session = self.begin_session(&mut act, id.clone(), &user, (visitor, begun)).await?;
                act.tx.set_session_provider(&id, Some(&provider.id), person.token.sid.as_deref()).await?;
                if !is_new {
                    self.tell_of_sign_in(&mut act, &user, visitor, is_new_browser).await?;
                } else {
                    self.note_network(&mut act, &user, visitor).await?;
                }
                Ok(Ok(session))
            })
            .await?;
        Ok(session.map(|session| Arrival::SignedIn { session: Box::new(session), to: pending.to.clone() }))
    }

    /// Confirms a session. The person must have authenticated again for it.
    async fn confirm_as(
        &self,
        provider: &Provider,
        person: &Person,
        pending: &Pending,
        (id, back): (&SessionId, &Return<'_>),
    ) -> Decided<Arrival> {
        let Some(session) = back.session.filter(|session| session.id == *id) else {
            return Ok(Err(Refusal::SessionEnded));
        };
        self.node.unless_quarantined()?;
        if !is_fresh(&person.token, pending.at, self.clock.now()) {
            return Ok(Err(TokenFault::NotFresh.into()));
        }
        let value = SecretValue::generate(SecretKind::Session, self.random.as_ref());
        let digest = self.digests.session(value.reveal());
        let confirmed = self
            .change_own(&session.principal, async |act, principal| {
                let Some(provider) = same_provider(act.tx, provider).await? else {
                    return Ok(Err(Refusal::State));
                };
                let identity = act.tx.identity(&provider.id, &person.token.subject).await?;
                if identity.is_none_or(|identity| identity.user_id != principal.user) {
                    return Ok(Err(Refusal::OtherPerson));
                }
                let user = act.tx.user(&principal.user).await?.ok_or_else(Problem::not_found)?;
                act.tx.confirm_session(&session.id, &digest, act.now).await?;
                act.tx
                    .set_session_provider(&session.id, Some(&provider.id), person.token.sid.as_deref())
                    .await?;
                act.tx.touch_identity(&provider.id, person.known_as(), act.now).await?;
                self.node.strangers.know(&digest);
                let mut policy = act.on_behalf_of(Author::from(policy(&provider)).at(&back.visitor.origin));
                let groups = groups_of(policy.tx, &provider, &user, person).await?;
                self.settle_groups(&mut policy, &provider, &user, &groups, Some(&session.id)).await?;
                by_session_digest(act.tx, &digest, &back.visitor.origin, act.now).await?;
                Ok(Ok(()))
            })
            .await?;
        Ok(confirmed.map(|()| Arrival::Confirmed { value, to: pending.to.clone() }))
    }

    /// Links the account of a session with a provider. The person confirmed the session before they were sent there.
    async fn link_as(
        &self,
        provider: &Provider,
        person: &Person,
        (id, back): (&SessionId, &Return<'_>),
    ) -> Decided<Arrival> {
        let Some(session) = back.session.filter(|session| session.id == *id) else {
            return Ok(Err(Refusal::SessionEnded));
        };
        self.node.unless_quarantined()?;
        let linked = self
            .change_own(&session.principal, async |act, principal| {
                // A provider of one's own must be no way around a second factor.
                principal.unless_factor_missing()?;
                let Some(provider) = same_provider(act.tx, provider).await? else {
                    return Ok(Err(Refusal::State));
                };
                if let Err(refusal) = has_own_address(&provider, person) {
                    return Ok(Err(refusal));
                }
                match act.tx.identity(&provider.id, &person.token.subject).await? {
                    Some(identity) if identity.user_id == principal.user => {
                        act.tx.touch_identity(&provider.id, person.known_as(), act.now).await?;
                        return Ok(Ok(()));
                    }
                    Some(_) => return Ok(Err(Refusal::OtherAccount)),
                    None => {}
                }
                if let Err(refusal) = check_provisioned(act.tx, &provider, &principal.user, person).await? {
                    return Ok(Err(refusal));
                }
                let known = act.tx.identities(&principal.user).await?;
                if known.iter().any(|it| it.provider_id == provider.id) {
                    return Ok(Err(Refusal::AlreadyLinked));
                }
                let identity = IdentityRow {
                    provider_id: provider.id.clone(),
                    subject: person.token.subject.clone(),
                    user_id: principal.user.clone(),
                    created_account: false,
                    created_at: act.now,
                    external_id: person.external_id.clone(),
                };
                act.tx.insert_identity(&identity, None).await?;
                let event = Event::IdentityLinked {
                    user_id: principal.user.clone(),
                    provider_id: provider.id.clone(),
                    provider_name: provider.name.to_string(),
                    created_account: false,
                };
                act.audit(&event, About::target(&principal.user)).await?;
                self.tell_of_identity(act, &event, &session.email, back.visitor).await?;
                Ok(Ok(()))
            })
            .await?;
        Ok(linked.map(|()| Arrival::Linked))
    }

    /// Tells a person that their account was linked with a provider.
    async fn tell_of_identity(
        &self,
        act: &mut Act<'_>,
        event: &Event,
        email: &str,
        visitor: &Visitor,
    ) -> Result<(), Error> {
        let facts = json!({"account": email, "source_ip": visitor.origin.stored});
        let email = Some(email).filter(|email| !email.is_empty());
        act.tell_person(self.random.as_ref(), event, email, (facts, None)).await.map(drop)
    }
}

/// Returns a provider as it is stored, if its people are still those of the issuer that was asked.
async fn same_provider(tx: &mut Tx, asked: &Provider) -> Result<Option<Provider>, Error> {
    let stored = tx.provider(&asked.id).await?;
    let is_same = |it: &Provider| {
        it.disabled_at.is_none()
            && it.issuer == asked.issuer
            && it.client_id == asked.client_id
            && it.groups_claim == asked.groups_claim
            && it.groups_from == asked.groups_from
            && it.external_id_claim == asked.external_id_claim
            && it.acr_values == asked.acr_values
    };
    Ok(stored.filter(is_same))
}

/// Returns the groups of a person: those that the token says, or those that the provider has provisioned.
async fn groups_of(
    tx: &mut Tx,
    provider: &Provider,
    user: &User,
    person: &Person,
) -> Result<Vec<String>, Error> {
    match provider.groups_from {
        GroupsFrom::Claim => Ok(person.groups.clone()),
        GroupsFrom::Provisioning => Ok(tx.scim_group_names(&provider.id, &user.id).await?),
    }
}

/// Returns who gives and removes roles by groups.
pub(super) fn policy(provider: &Provider) -> Actor {
    Actor::policy(provider.id.as_str(), &format!("Single sign-on with {}", provider.name))
}
