//! `/audit-events` and `/authentication-failures`.

use super::{
    call::Call,
    reply::page,
    schema::{Schemas, Shape},
};
use crate::reply::Reply;
use axum::{
    Json,
    body::{Body, Bytes},
    http::header,
    response::{IntoResponse, Response},
};
use crossfade_app::{AuditExport, AuditQuery, ExportFormat, FailureQuery};
use crossfade_core::{api, audit::statement::SignedStatement};
use futures_util::stream;
use serde_json::json;

/// Filter parameters of the trail.
const AUDIT_FILTERS: &[&str] =
    &["actor", "action", "client", "environment", "since", "until", "outcome", "via", "via_kind"];
/// Parameters of an export: the filters, and the format.
const EXPORT_PARAMETERS: &[&str] =
    &["actor", "action", "client", "environment", "since", "until", "outcome", "via", "via_kind", "format"];
/// Filter parameters of failed authentications.
const FAILURE_FILTERS: &[&str] = &["client", "environment", "reason", "since"];

pub(super) async fn list(call: Call) -> Reply {
    let query = AuditQuery { list: call.list(AUDIT_FILTERS)?, ..filters(&call) };
    page(&call.uri, &call.app.list_audit_events(&call.principal, &query).await?)
}

pub(super) async fn checkpoint(call: Call) -> Reply {
    call.only(&[])?;
    Ok(Json(call.app.read_audit_checkpoint(&call.principal).await?).into_response())
}

pub(super) fn checkpoint_shape(schemas: &mut Schemas) -> Shape {
    schemas.answers::<SignedStatement>(200)
}

pub(super) fn list_shape(schemas: &mut Schemas) -> Shape {
    schemas.list::<api::AuditEvent>(AUDIT_FILTERS)
}

/// Exports JSON Lines, streamed while they are read.
pub(super) async fn export(call: Call) -> Reply {
    call.only(EXPORT_PARAMETERS)?;
    let format = ExportFormat::parse(call.parameter("format").as_deref())?;
    let export = call.app.export_audit_events(&call.principal, &filters(&call), format).await?;
    Ok(json_lines(export))
}

pub(super) fn export_shape(schemas: &mut Schemas) -> Shape {
    let shape = schemas.answers::<api::AuditEvent>(200);
    let lines = json!({"type": "string", "description": "One AuditEvent per line, then signed statements; or one OCSF event per line."});
    Shape { query: EXPORT_PARAMETERS, answer: Some((lines, "application/jsonl")), ..shape }
}

/// Returns the response of an export, here and in the Console.
pub(crate) fn json_lines(export: AuditExport) -> Response {
    let lines = stream::try_unfold(export, async |mut export| {
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(
            lines(&mut export).await?.map(|lines| (lines, export)),
        )
    });
    ([(header::CONTENT_TYPE, "application/jsonl")], Body::from_stream(lines)).into_response()
}

async fn lines(export: &mut AuditExport) -> Result<Option<Bytes>, crossfade_app::Error> {
    Ok(export.next().await?.map(Bytes::from))
}

fn filters(call: &Call) -> AuditQuery {
    AuditQuery {
        actor: call.parameter("actor"),
        action: call.parameter("action"),
        client: call.parameter("client"),
        environment: call.parameter("environment"),
        since: call.parameter("since"),
        until: call.parameter("until"),
        outcome: call.parameter("outcome"),
        via: call.parameter("via"),
        via_kind: call.parameter("via_kind"),
        ..AuditQuery::default()
    }
}

pub(super) async fn list_failures(call: Call) -> Reply {
    let query = FailureQuery {
        list: call.list(FAILURE_FILTERS)?,
        client: call.parameter("client"),
        environment: call.parameter("environment"),
        reason: call.parameter("reason"),
        since: call.parameter("since"),
    };
    page(&call.uri, &call.app.list_authentication_failures(&call.principal, &query).await?)
}

pub(super) fn list_failures_shape(schemas: &mut Schemas) -> Shape {
    schemas.list::<api::AuthenticationFailure>(FAILURE_FILTERS)
}
