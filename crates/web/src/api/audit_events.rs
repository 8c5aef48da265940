//! `/audit-events`.

use super::{
    call::Call,
    reply::{Reply, page},
};
use crossfade_app::AuditQuery;

pub(super) async fn list(call: Call) -> Reply {
    let query = AuditQuery {
        list: call.list(&["actor", "action", "client", "environment", "since", "until"])?,
        actor: call.parameter("actor"),
        action: call.parameter("action"),
        client: call.parameter("client"),
        environment: call.parameter("environment"),
        since: call.parameter("since"),
        until: call.parameter("until"),
    };
    page(&call.uri, &call.app.list_audit_events(&call.caller, &query).await?)
}
