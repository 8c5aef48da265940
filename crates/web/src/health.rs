//! Health checks: whether this process runs, and whether it can verify secrets.

use crate::{Web, routing::get};
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use crossfade_app::{Readiness, what_fails};

pub(crate) fn router() -> Router<Web> {
    Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz))
}

async fn healthz() -> Response {
    "ok\n".into_response()
}

async fn readyz(State(web): State<Web>) -> Response {
    let not_ready = |why: &str| {
        let text = format!("not ready: {why}\n");
        (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], text).into_response()
    };
    // A node with a warning still verifies secrets; the text says what is wrong.
    let ready = |text: String| {
        let lines = [text].into_iter().chain(web.app.clock_warning()).chain(web.app.lock_notes());
        lines.map(|line| format!("{line}\n")).collect::<String>().into_response()
    };
    match web.app.readiness().await {
        Readiness::Ready => ready("ready".to_owned()),
        // If a load balancer removed this node, nobody would get tokens.
        Readiness::ChangesFail(fault) => ready(format!("ready, but changes fail: {}", what_fails(fault))),
        Readiness::Stopping => not_ready("the server is stopping"),
        Readiness::Quarantined(cause) => {
            not_ready(&format!("the instance is in quarantine: {}", cause.sentence()))
        }
        Readiness::LockLost(why) => {
            not_ready(&format!("the lock on the database or the lease is lost: {why}"))
        }
        Readiness::Behind => not_ready("the tables are behind the database"),
    }
}
