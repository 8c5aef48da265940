//! Somebody in front of a browser: a cookie jar, and requests as a browser sends them.

use crate::world::{Answer, OWNER, World};
use axum::body::Body;
use http::{HeaderName, HeaderValue, Method, Request};
use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

const MICRO: Duration = Duration::from_micros(1);

/// The password of everybody who can sign in.
pub const PASSWORD: &str = "correct horse battery staple";

pub struct Browser<'w> {
    world: &'w World,
    jar: Mutex<BTreeMap<String, String>>,
    from: IpAddr,
}

impl World {
    /// A browser that knows nothing yet.
    pub fn browser(&self) -> Browser<'_> {
        Browser { world: self, jar: Mutex::default(), from: IpAddr::from([192, 0, 2, 10]) }
    }

    /// The Owner, signed in.
    pub async fn signed_in(&self) -> Browser<'_> {
        self.owner().await;
        self.signed_in_as(OWNER).await
    }

    /// Somebody with a role on the whole platform, signed in.
    pub async fn person(&self, email: &str, role: &str) -> Browser<'_> {
        self.owner().await;
        self.user(email, role).await;
        self.raw(&format!(
            "UPDATE users SET password_hash = (SELECT password_hash FROM users WHERE email = '{OWNER}') WHERE email = '{email}'"
        ))
        .await;
        self.signed_in_as(email).await
    }

    /// An account that has a password, signed in.
    pub async fn signed_in_as(&self, email: &str) -> Browser<'_> {
        let browser = self.browser();
        let answer = browser.sign_in(email, PASSWORD).await;
        assert_eq!(answer.status.as_u16(), 303, "{}", answer.text());
        browser
    }
}

impl Browser<'_> {
    /// From another address.
    pub fn from(mut self, address: [u8; 4]) -> Self {
        self.from = address.into();
        self
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None, &[]).await
    }

    /// Submits a form of our own page.
    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.post_with(path, fields, &[("sec-fetch-site", "same-origin"), ("origin", "null")]).await
    }

    /// What a script of our own page posts.
    pub async fn script(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.post_with(path, fields, &[("sec-fetch-site", "same-origin"), ("accept", "application/json")])
            .await
    }

    /// A form with any headers.
    pub async fn post_with(&self, path: &str, fields: &[(&str, &str)], headers: &[(&str, &str)]) -> Answer {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let mut all = vec![("content-type", "application/x-www-form-urlencoded")];
        all.extend_from_slice(headers);
        self.send(Method::POST, path, Some(body), &all).await
    }

    /// A sign-in during which `wait` passes, and not a microsecond less.
    pub async fn sign_in_after(&self, password: &str, wait: Duration) -> Answer {
        let app = &self.world.app;
        let waiting = async || app.measure().await.sign_ins_waiting;
        let passes = async {
            while waiting().await == 0 {
                tokio::task::yield_now().await;
            }
            self.world.advance(wait - MICRO);
            for _ in 0..20 {
                tokio::task::yield_now().await;
                assert_eq!(waiting().await, 1, "the sign-in still waits");
            }
            self.world.advance(MICRO);
        };
        tokio::join!(self.sign_in(OWNER, password), passes).0
    }

    pub async fn sign_in(&self, email: &str, password: &str) -> Answer {
        self.post("/console/sign-in", &[("email", email), ("password", password)]).await
    }

    /// Any request, with the cookies that there are; what comes back changes them.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        let cookies: Vec<_> = self.jar().iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !cookies.is_empty() {
            request = request.header("cookie", cookies.join("; "));
        }
        for (name, value) in headers {
            request =
                request.header(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
        }
        let request = request.body(body.map_or_else(Body::empty, Body::from)).unwrap();
        let answer = self.world.send(request, self.from).await;
        for cookie in answer.headers.get_all("set-cookie") {
            let (pair, attributes) = cookie.to_str().unwrap().split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            match attributes.contains("Max-Age=0") {
                true => self.jar().remove(name),
                false => self.jar().insert(name.to_owned(), value.to_owned()),
            };
        }
        answer
    }

    pub fn jar(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.jar.lock().unwrap()
    }

    /// The name of a cookie of this instance: `session`, `device` or `theme`.
    pub fn name_of(&self, kind: &str) -> String {
        let app = &self.world.app;
        let prefix = if app.public_url().starts_with("https://") { "__Host-" } else { "" };
        format!("{prefix}crossfade_{}_{kind}", app.mark())
    }

    /// What the cookie of the sign-in holds.
    pub fn cookie(&self) -> Option<String> {
        self.jar().get(&self.name_of("session")).cloned()
    }

    /// Whether somebody is signed in here: whether one's own account is shown.
    pub async fn is_signed_in(&self) -> bool {
        match self.get("/console/account").await.status.as_u16() {
            200 => true,
            303 => false,
            status => panic!("{status}"),
        }
    }
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.bytes.clone()).unwrap()
    }

    /// Where a redirect leads.
    #[track_caller]
    pub fn leads_to(&self) -> &str {
        assert_eq!(self.status.as_u16(), 303, "{}", self.text());
        self.header("location").unwrap()
    }

    /// The page of an answer with this status.
    #[track_caller]
    pub fn page(&self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("text/html; charset=utf-8"));
        self.text()
    }
}
