//! Reading requests of providers: first whose they are, and then what they ask for.

use super::reply::{self, Refused};
use crate::{
    Web,
    body::{BodyError, read_directly},
    observe,
    unread::{is_encoded, unsupported_encoding},
};
use axum::{
    body::HttpBody,
    extract::{FromRequest, FromRequestParts, Path, RawPathParams, Request},
    http::{HeaderMap, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use crossfade_app::{App, IfMatch, Intent, Provisioner, ScimQuery, ScimResource};
use crossfade_core::{
    Code, Problem,
    scim::{Filter, MAX_BODY, MAX_RESULTS, Resource, ScimType},
};
use serde_json::{Map, Value};
use std::{collections::HashMap, sync::Arc};

/// The provider in the path.
pub(super) struct Path1(pub(super) String);

/// The provider and the ID of a resource in the path.
pub(super) struct Path2(pub(super) String, pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Path1 {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let Path(provider) =
            Path::from_request_parts(parts, state).await.map_err(|_| Problem::not_found())?;
        Ok(Self(provider))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Path2 {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let path = Path::from_request_parts(parts, state).await;
        let Path((provider, id)) = path.map_err(|_| Problem::not_found())?;
        Ok(Self(provider, id))
    }
}

/// A request of an authenticated provider.
pub(super) struct Entered {
    pub(super) app: Arc<App>,
    by: Provisioner,
    /// Provider in the path.
    provider: String,
    /// Base URL of the provider's resources.
    pub(super) base: String,
    query: HashMap<String, String>,
    tags: Option<Vec<i64>>,
    known: Vec<String>,
    body: Option<Map<String, Value>>,
}

/// Which attributes a response has.
pub(super) struct Wanted {
    pub(super) of: Resource,
    pub(super) attributes: Option<String>,
    pub(super) excluded: Option<String>,
}

impl FromRequest<Web> for Entered {
    type Rejection = Refused;

    async fn from_request(request: Request, web: &Web) -> Result<Self, Refused> {
        let (mut parts, body) = request.into_parts();
        let headers = parts.headers.clone();
        if is_encoded(&headers) && !body.is_end_stream() {
            return Err(unsupported_encoding().into());
        }
        let params = RawPathParams::from_request_parts(&mut parts, web).await;
        let params = params.map_err(|_| Problem::not_found())?;
        let provider = params.iter().find(|(name, _)| *name == "provider").map(|(_, value)| value.to_owned());
        let provider = provider.unwrap_or_default();
        let origin = observe::origin(web, &parts.extensions, &headers);
        let intent = if parts.method.is_safe() { Intent::Read } else { Intent::Change };
        let by = web.app.authenticate_provisioner(&provider, bearer(&headers)?, origin, intent).await?;
        let is_sent = matches!(parts.method, Method::POST | Method::PUT | Method::PATCH);
        let body = if is_sent { Some(object(&headers, body).await?) } else { None };
        let query = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
        Ok(Self {
            app: web.app.clone(),
            base: format!("{}/scim/v2/{provider}", web.app.admin_url()),
            by,
            provider,
            query: query.into_owned().collect(),
            tags: tags(&headers, header::IF_MATCH)
                .map(|tags| tags.iter().filter_map(|tag| version(tag)).collect()),
            known: tags(&headers, header::IF_NONE_MATCH).unwrap_or_default(),
            body,
        })
    }
}

/// Returns the token of the only `Authorization: Bearer` header (RFC 6750 §2.1).
fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let token = match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok().and_then(|value| value.split_once(' ')),
        _ => None,
    };
    match token {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => {
            let text = "The request has no provisioning token. Send one as Authorization: Bearer.";
            Err(Problem::new(Code::Unauthenticated, text))
        }
    }
}

/// Reads the body: a JSON object.
async fn object(headers: &HeaderMap, body: axum::body::Body) -> Result<Map<String, Value>, Problem> {
    let syntax = |text: &str| ScimType::InvalidSyntax.refuse(format!("{text} Nothing was changed."));
    let content_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if !["application/scim+json", "application/json"].contains(&essence.as_str()) {
        return Err(syntax("The content type must be application/scim+json or application/json."));
    }
    let bytes = read_directly(body, MAX_BODY).await.map_err(|error| match error {
        BodyError::TooLarge => {
            let text = format!("The request body must be at most {MAX_BODY} bytes. Nothing was changed.");
            Problem::new(Code::BodyTooLarge, text)
        }
        BodyError::Late => syntax("The request body was not received in time."),
        BodyError::Broken => syntax("The request body ended early."),
    })?;
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(syntax("The request body must be a JSON object.")),
        Err(error) => {
            let (line, column) = (error.line(), error.column());
            Err(syntax(&format!("The request body is not valid JSON (line {line}, column {column}).")))
        }
    }
}

/// Returns the ETags of a header; `None` if it was not sent, or means any.
fn tags(headers: &HeaderMap, name: header::HeaderName) -> Option<Vec<String>> {
    let values: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    let all: Vec<String> =
        values.iter().flat_map(|value| value.split(',')).map(|tag| tag.trim().to_owned()).collect();
    (!all.is_empty() && !all.iter().any(|tag| tag == "*")).then_some(all)
}

fn version(tag: &str) -> Option<i64> {
    tag.strip_prefix("W/").unwrap_or(tag).strip_prefix('"')?.strip_suffix('"')?.parse().ok()
}

impl Entered {
    /// Returns the provider. A handler names the provider of its path, so that none forgets whose token it is.
    pub(super) fn by(&self, provider: &str) -> Result<&Provisioner, Problem> {
        if provider == self.provider { Ok(&self.by) } else { Err(Problem::not_found()) }
    }

    /// Returns a parameter.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    /// Returns the versions of which one must be the present one.
    pub(super) fn if_match(&self) -> IfMatch<'_> {
        match &self.tags {
            None => IfMatch::Any,
            Some(versions) => IfMatch::AnyOf(versions),
        }
    }

    /// Returns the body.
    pub(super) fn object(&self) -> Result<&Map<String, Value>, Problem> {
        self.body.as_ref().ok_or_else(|| ScimType::InvalidSyntax.refuse("A request body is required."))
    }

    /// Returns the request with the parameters that its body contains (RFC 7644 §3.4.3).
    pub(super) fn searching(mut self) -> Result<Self, Problem> {
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Array(list) => Some(list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")),
            _ => None,
        };
        self.query =
            self.object()?.iter().filter_map(|(name, value)| Some((name.clone(), text(value)?))).collect();
        Ok(self)
    }

    /// Returns which attributes the response has.
    pub(super) fn wanted(&self, of: Resource) -> Wanted {
        let list = |name| self.parameter(name).filter(|list| !list.is_empty()).map(str::to_owned);
        Wanted { of, attributes: list("attributes"), excluded: list("excludedAttributes") }
    }

    /// Whether the response contains the members of groups.
    pub(super) fn wants_members(&self) -> bool {
        let names = |list: &str| {
            let mut names = list.split(',').map(|name| Resource::Group.without_urn(name.trim()));
            names.any(|name| name.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("members")))
        };
        let wanted = self.wanted(Resource::Group);
        match (&wanted.attributes, &wanted.excluded) {
            (Some(list), _) => names(list),
            (None, Some(list)) => !list.split(',').any(|name| name.trim().eq_ignore_ascii_case("members")),
            (None, None) => true,
        }
    }

    /// Reads what a list is asked for.
    pub(super) fn query(&self, of: Resource) -> Result<ScimQuery, Problem> {
        if self.parameter("sortBy").is_some() {
            let text = "Lists cannot be sorted: they begin with the oldest. Leave out sortBy.";
            return Err(ScimType::InvalidValue.refuse(text).with_field("sortBy"));
        }
        let number = |name: &str| -> Result<Option<i64>, Problem> {
            let Some(text) = self.parameter(name) else { return Ok(None) };
            let must =
                || ScimType::InvalidValue.refuse(format!("{name} must be a whole number.")).with_field(name);
            text.trim().parse().map(Some).map_err(|_| must())
        };
        let at_least = |number: Option<i64>, least: usize, default: usize| {
            number.map_or(default, |number| usize::try_from(number).unwrap_or(0).max(least))
        };
        let filter = self.parameter("filter").map(|text| Filter::parse(of, text)).transpose()?;
        let filters_members =
            self.parameter("filter").is_some_and(|text| text.to_ascii_lowercase().contains("members"));
        Ok(ScimQuery {
            filter,
            start_index: at_least(number("startIndex")?, 1, 1),
            count: at_least(number("count")?, 0, MAX_RESULTS),
            with_members: filters_members || self.wants_members(),
        })
    }

    /// Returns a resource, or that it has not changed since it was read.
    pub(super) fn unless_known(&self, found: ScimResource, of: Resource) -> Response {
        let opaque = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
        if self.known.iter().any(|tag| opaque(tag) == opaque(&found.tag)) {
            let tag = HeaderMap::from_iter(found.tag.parse().ok().map(|tag| (header::ETAG, tag)));
            return (StatusCode::NOT_MODIFIED, tag).into_response();
        }
        reply::ok(found, &self.wanted(of))
    }
}
