//! The clients that are not registered in an environment in front of another issuer, and that get tokens through it: not
//! taken over yet.

use crate::console::{
    environment::EnvironmentBadge,
    layout::{Layout, Section},
    page,
    session::SignedIn,
};
use crate::reply::Reply;
use askama::Template;
use axum::extract::{Path, Query};
use crossfade_app::{EnvironmentPath, ListQuery};
use crossfade_core::{
    Problem, Timestamp,
    api::{self, UnregisteredClient},
    roles::Permission,
    unregistered::PassedMethod,
    upstream::UnregisteredClients,
};
use serde::Deserialize;
use std::borrow::Borrow;

#[derive(Template)]
#[template(path = "console/environments/unregistered.html")]
struct UnregisteredPage {
    layout: Layout,
    now: Timestamp,
    it: api::Environment,
    badge: EnvironmentBadge,
    clients: Vec<UnregisteredClient>,
    /// All other requests.
    sum: Option<UnregisteredClient>,
    /// Whether this is not the first page.
    is_later: bool,
    next: Option<String>,
    /// Whether this reader can register clients.
    may_register: bool,
}

#[derive(Deserialize, Default)]
pub(in crate::console) struct Asked {
    cursor: Option<String>,
}

impl UnregisteredPage {
    fn address(&self) -> String {
        format!("/console/environments/{}/unregistered", self.it.slug)
    }

    fn first_address(&self) -> String {
        if self.is_later { self.address() } else { String::new() }
    }

    fn next_address(&self) -> String {
        let next = |cursor: &String| format!("{}?cursor={cursor}", self.address());
        self.next.as_ref().map(next).unwrap_or_default()
    }

    fn shown(&self) -> String {
        format!("{} on this page", self.clients.len())
    }

    fn passes(&self) -> bool {
        self.it.unregistered_clients == Some(UnregisteredClients::Pass)
    }

    /// Returns the URL of the form that registers a client.
    fn register_address(&self, client_id: impl ToString) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("environment", &self.it.slug).append_pair("client_id", &client_id.to_string());
        format!("/console/clients/new?{}", query.finish())
    }
}

/// When a client is listed.
const LIMITS: &str = "A client is listed when the issuer has given it a token, until it is registered, or has had no token \
    for 90 days. At most 1,000 clients are listed.";

/// Whether a client authenticates. One that does not has no secret, so it cannot be registered.
fn has_credential(client: &UnregisteredClient) -> bool {
    client.authentication_methods.iter().any(|method| *method != PassedMethod::None)
}

/// Returns how a client authenticates, in words.
fn method(method: impl Borrow<PassedMethod>) -> &'static str {
    match method.borrow() {
        PassedMethod::ClientSecretBasic => "Secret in the header",
        PassedMethod::ClientSecretPost => "Secret in the form",
        PassedMethod::Assertion => "Assertion",
        PassedMethod::None => "None",
    }
}

pub(in crate::console) async fn show(
    Path(slug): Path<String>,
    signed: SignedIn,
    Query(asked): Query<Asked>,
) -> Reply {
    let (app, principal) = (&signed.app, signed.principal());
    let list = ListQuery { limit: None, cursor: asked.cursor.clone() };
    let found = app.list_unregistered_clients(principal, EnvironmentPath(&slug), &list).await?;
    let all = app.list_environments(principal).await?;
    let at = all.iter().position(|it| it.slug == slug).ok_or_else(Problem::not_found)?;
    let it = all[at].clone();
    let badge = EnvironmentBadge::new(&it.name, it.kind, at);
    let layout = signed
        .layout(Section::Environments, "Unregistered clients")
        .crumb("Environments", "/console/environments")
        .crumb(&it.name, &format!("/console/environments/{slug}"));
    let (clients, sums): (Vec<_>, Vec<_>) = found.items.into_iter().partition(|it| it.client_id.is_some());
    Ok(page(&UnregisteredPage {
        layout: layout.of_environment(badge.clone()),
        now: signed.session.now,
        badge,
        clients,
        sum: sums.into_iter().next(),
        is_later: asked.cursor.is_some(),
        next: found.next_cursor,
        may_register: it.upstream.is_some() && principal.may_somewhere(Permission::ClientManage),
        it,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::crossfade::samples;
    use crossfade_core::{
        OauthClientId,
        environment::EnvironmentKind,
        unregistered::{KEPT_FOR, MAX_CLIENTS},
    };
    use serde_json::json;

    fn sample(unregistered: &str, names: &[&str]) -> UnregisteredPage {
        let it = json!({
            "slug": "partners", "name": "Partners", "kind": "live", "issuer": "https://id.example",
            "issuer_mode": "upstream", "unregistered_clients": unregistered,
            "upstream": {"kind": "generic", "servers": [
                {"name": "default", "issuer": "https://id.example", "token_endpoint": "https://id.example/token"}]},
            "show_once": false, "wipe_after_days": 30,
        });
        let client = |name: Option<&str>| UnregisteredClient {
            client_id: name.map(|name| OauthClientId::parse(name).unwrap()),
            first_seen_at: samples::now(),
            last_seen_at: samples::now(),
            last_token_at: name.map(|_| samples::now()),
            accepted_count: 7,
            refused_count: 2,
            failed_count: 1,
            last_status: name.map(|_| 200),
            authentication_methods: name.map(|_| PassedMethod::Assertion).into_iter().collect(),
            sources: Vec::new(),
        };
        UnregisteredPage {
            layout: Layout::sample(Section::Environments, "Unregistered clients"),
            now: samples::now(),
            it: serde_json::from_value(it).unwrap(),
            badge: EnvironmentBadge::new("Partners", EnvironmentKind::Live, 0),
            clients: names.iter().map(|name| client(Some(name))).collect(),
            sum: Some(client(None)),
            is_later: false,
            next: Some("x".into()),
            may_register: true,
        }
    }

    #[test]
    fn a_client_id_of_a_stranger_is_text_on_the_page_and_in_links() {
        let name = "\"><script>a&b=c</script>";
        let html = sample("pass", &[name]).render().unwrap();
        assert!(!html.contains("<script>a") && html.contains("&#60;script&#62;a&#38;b=c"), "{html}");
        let link = "environment=partners&#38;client_id=%22%3E%3Cscript%3Ea%26b%3Dc%3C%2Fscript%3E";
        assert!(html.contains(link), "{html}");
        assert!(html.contains("Assertion") && html.contains("7 accepted, 2 refused, 1 failed"), "{html}");
        let reader = UnregisteredPage { may_register: false, ..sample("pass", &["app"]) };
        assert!(!reader.render().unwrap().contains("/console/clients/new"));
        let mut public = sample("pass", &["spa"]);
        public.clients[0].authentication_methods = vec![PassedMethod::None];
        let html = public.render().unwrap();
        assert!(!html.contains("/console/clients/new") && html.contains("Public"), "{html}");
    }

    #[test]
    fn the_page_says_its_limits_and_what_is_next() {
        assert_eq!((MAX_CLIENTS, KEPT_FOR.as_secs()), (1000, 90 * 86_400));
        let html = sample("pass", &["app"]).render().unwrap();
        assert!(html.contains("90 days") && html.contains("1,000") && html.contains("cursor=x"), "{html}");
        assert!(sample("pass", &[]).render().unwrap().contains("No clients"));
        assert!(sample("refuse", &["app"]).render().unwrap().contains("are refused now"));
    }
}
