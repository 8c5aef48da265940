//! Whether this process runs, and whether it can decide.

use crate::{Web, private};
use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};

pub(crate) fn router() -> Router<Web> {
    Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz))
}

async fn healthz() -> Response {
    private("ok\n".into_response())
}

async fn readyz(State(web): State<Web>) -> Response {
    private(if web.app.is_ready().await {
        match web.app.clock_warning() {
            // It decides all the same; whoever reads the text learns what is wrong.
            Some(warning) => format!("ready\n{warning}\n").into_response(),
            None => "ready\n".into_response(),
        }
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready: the tables are behind the database\n").into_response()
    })
}
