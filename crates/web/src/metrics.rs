//! Metrics for Prometheus, with its conventions for names and units. No client, user or address is a label.

use crate::{Ended, Transport, Web, routing::get, source::peer};
use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts, uri::Authority},
    response::{IntoResponse, Response},
};
use crossfade_app::{Gauges, Intent, Readiness};
use crossfade_core::Timestamp;
use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder, core::Collector,
};
use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

/// Counts of requests.
pub(crate) struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    durations: HistogramVec,
}

/// Upper bounds of the duration buckets, in seconds: a token takes about 50 microseconds, a page a few milliseconds.
const BUCKETS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

impl Metrics {
    /// Returns empty counts.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let requests = IntCounterVec::new(
            Opts::new("crossfade_http_requests_total", "Requests answered, by operation and status."),
            &["operation", "status"],
        )?;
        let durations = HistogramVec::new(
            HistogramOpts::new(
                "crossfade_http_request_duration_seconds",
                "Duration of requests, by operation.",
            )
            .buckets(BUCKETS.to_vec()),
            &["operation"],
        )?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(durations.clone()))?;
        #[cfg(target_os = "linux")]
        registry.register(Box::new(crate::process::Process::new()?))?;
        let build = IntGaugeVec::new(
            Opts::new("crossfade_build_info", "1, labelled with the version of the program."),
            &["version"],
        )?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        registry.register(Box::new(build))?;
        Ok(Self { registry, requests, durations })
    }

    /// Counts one response.
    pub(crate) fn answered(&self, operation: &'static str, status: u16, took: Duration) {
        self.requests.with_label_values(&[operation, status_text(status)]).inc();
        self.durations.with_label_values(&[operation]).observe(took.as_secs_f64());
    }

    /// Returns the counts of one endpoint, looked up once for all its responses.
    pub(crate) fn endpoint(&self, operation: &'static str) -> Endpoint {
        Endpoint(Arc::new(Counted {
            operation,
            succeeded: self.requests.with_label_values(&[operation, status_text(200)]),
            refused: REFUSED.map(|_| OnceLock::new()),
            requests: self.requests.clone(),
            durations: self.durations.with_label_values(&[operation]),
        }))
    }

    fn text(
        &self,
        gauges: &Gauges,
        is_ready: bool,
        transport: &Transport,
    ) -> Result<Vec<u8>, prometheus::Error> {
        let Transport { connections, certificate, .. } = transport;
        let mut families = self.registry.gather();
        let mut numbers = vec![
            ("crossfade_ready", "1 while /readyz answers 200, otherwise 0.", is_ready.into()),
            ("crossfade_registrations", "Registrations loaded on this node.", gauges.registrations),
            (
                "crossfade_changes_failing",
                "1 while changes are not stored, otherwise 0.",
                gauges.changes_failing.is_some().into(),
            ),
            ("crossfade_connections", "Open connections.", connections.open()),
            ("crossfade_connections_limit", "Maximum number of open connections.", connections.limit()),
            (
                "crossfade_sign_ins_waiting",
                "Sign-ins that wait because of failed attempts at their account.",
                gauges.sign_ins_waiting,
            ),
            (
                "crossfade_serve_lock_held",
                "Whether this node holds the lock on the database: 1, or 0 while it takes the lock again.",
                gauges.holds_lock.into(),
            ),
            (
                "crossfade_lease_held",
                "Whether this node has a lease, without which it verifies no secrets: 1 or 0. Always 1 on SQLite.",
                gauges.may_decide.into(),
            ),
            (
                "crossfade_quarantined",
                "1 while the instance is in quarantine and issues no tokens, otherwise 0.",
                gauges.is_quarantined.into(),
            ),
            (
                "crossfade_mail_held",
                "1 while no mail and no webhook messages are sent because the database is in another place than before, otherwise 0.",
                gauges.mail.held_since.is_some().into(),
            ),
            (
                "crossfade_journal_failing",
                "1 while the journal cannot be written and nothing can end, otherwise 0.",
                gauges.is_journal_failing.into(),
            ),
            (
                "crossfade_audit_trail_altered",
                "1 if the audit trail was written again in the database and is no longer signed, otherwise 0.",
                gauges.is_trail_altered.into(),
            ),
            (
                "crossfade_unreadable_rows",
                "Stored registrations, secrets, environments, signing keys and revocations that cannot be \
                read and are therefore refused.",
                gauges.unreadable_rows,
            ),
        ];
        numbers.extend([
            (
                "crossfade_audit_unshipped_events",
                "Events of the audit trail that the destination furthest behind does not have.",
                gauges.sinks.iter().map(|sink| sink.behind).max().unwrap_or(0),
            ),
            (
                "crossfade_audit_sinks_failing",
                "Destinations that the audit trail cannot be sent to.",
                i64::try_from(gauges.sinks.iter().filter(|sink| sink.is_failing).count()).unwrap_or(i64::MAX),
            ),
        ]);
        if let Some(stored) = gauges.stored {
            numbers.extend([
                ("crossfade_transitions_running", "Retiring secrets.", stored.transitions_running),
                (
                    "crossfade_secrets_overdue",
                    "Current secrets older than their environment allows.",
                    stored.secrets_overdue,
                ),
                ("crossfade_clients_ownerless", "Clients without an owner.", stored.clients_ownerless),
                ("crossfade_mail_queued", "Messages that wait to be sent.", stored.mail_queued),
                (
                    "crossfade_mail_oldest_seconds",
                    "Seconds since the oldest message that waits was queued; 0 if none waits.",
                    stored.mail_oldest_seconds,
                ),
                (
                    "crossfade_webhooks_queued",
                    "Deliveries to webhooks that wait for an attempt.",
                    stored.webhooks_queued,
                ),
                (
                    "crossfade_webhooks_oldest_seconds",
                    "Seconds since the oldest delivery that waits was queued; 0 if none waits.",
                    stored.webhooks_oldest_seconds,
                ),
                (
                    "crossfade_webhooks_disabled",
                    "Webhooks that were disabled because the receiver was gone or failed for days.",
                    stored.webhooks_disabled,
                ),
                (
                    "crossfade_webhooks_failing",
                    "Enabled webhooks whose attempts have failed since the last success.",
                    stored.webhooks_failing,
                ),
                (
                    "crossfade_changes_behind",
                    "Stored changes not yet applied on this node.",
                    stored.changes_behind,
                ),
                (
                    "crossfade_evidence_lost_until_timestamp_seconds",
                    "Unix time of the end of the last gap in the evidence in which uses may be missing; 0 if \
                    there is no such gap.",
                    stored.evidence_lost_until.map_or(0, Timestamp::as_seconds),
                ),
            ]);
        }
        if let Some(disk) = gauges.disk {
            let bytes = |number| i64::try_from(number).unwrap_or(i64::MAX);
            numbers.extend([
                (
                    "crossfade_data_disk_free_bytes",
                    "Space left for this process on the disk of the SQLite database.",
                    bytes(disk.free),
                ),
                (
                    "crossfade_data_disk_size_bytes",
                    "Size of the disk of the SQLite database.",
                    bytes(disk.size),
                ),
            ]);
        }
        if let Some(not_after) = certificate.not_after() {
            numbers.extend([
                (
                    "crossfade_tls_certificate_not_after_seconds",
                    "Unix time at which the TLS certificate in use expires.",
                    not_after,
                ),
                (
                    "crossfade_tls_certificate_refused",
                    "1 while the certificate files hold something that cannot be used, otherwise 0.",
                    certificate.is_refused().into(),
                ),
            ]);
        }
        for (name, help, value) in numbers {
            let gauge = IntGauge::new(name, help)?;
            gauge.set(value);
            families.extend(gauge.collect());
        }
        for (name, help, seconds) in [
            (
                "crossfade_clock_offset_seconds",
                "Time by which the stored time is ahead of the machine's clock.",
                gauges.clock_offset_seconds,
            ),
            (
                "crossfade_clock_uncertainty_seconds",
                "How far this node's time can be from that of the database, in either direction. Always 0 on SQLite.",
                gauges.clock_uncertainty_seconds,
            ),
            (
                "crossfade_machine_clock_offset_seconds",
                "Time by which this machine's clock is ahead of the database's. Always 0 on SQLite.",
                gauges.own_clock_offset_seconds,
            ),
        ] {
            let gauge = Gauge::new(name, help)?;
            gauge.set(seconds);
            families.extend(gauge.collect());
        }
        for (name, help, count) in [
            (
                "crossfade_changes_lost_total",
                "Changes that this node applied and the database lost, for example in a failover.",
                gauges.changes_lost,
            ),
            (
                "crossfade_evidence_set_aside_total",
                "Evidence rows that the database refused.",
                gauges.evidence_set_aside,
            ),
            (
                "crossfade_tls_handshakes_failed_total",
                "TLS handshakes that failed.",
                certificate.handshakes_failed(),
            ),
            ("crossfade_mail_sent_total", "Messages that the mail server has taken.", gauges.mail.sent),
            (
                "crossfade_mail_failed_total",
                "Attempts to send a message that failed and are repeated.",
                gauges.mail.failed,
            ),
            (
                "crossfade_mail_refused_total",
                "Messages that the mail server refused for good.",
                gauges.mail.refused,
            ),
            ("crossfade_webhooks_sent_total", "Deliveries that a webhook has taken.", gauges.webhooks.sent),
            (
                "crossfade_webhooks_failed_total",
                "Attempts to deliver to a webhook that failed.",
                gauges.webhooks.failed,
            ),
            (
                "crossfade_webhooks_lost_total",
                "Deliveries that were given up, refused with 410, or not made before their deadline.",
                gauges.webhooks.lost,
            ),
            (
                "crossfade_jobs_failed_total",
                "Runs of the background jobs in which one failed, for example the deadline guard.",
                gauges.jobs_failed,
            ),
        ] {
            let counter = IntCounter::new(name, help)?;
            counter.inc_by(count);
            families.extend(counter.collect());
        }
        if let Some(stored) = gauges.stored {
            let warned = IntGaugeVec::new(
                Opts::new(
                    "crossfade_secrets_warned",
                    "Retiring secrets whose owners were warned because the secret was still needed, by the hours \
                    before the deadline of the last warning.",
                ),
                &["hours"],
            )?;
            for (hours, secrets) in stored.secrets_warned {
                warned.with_label_values(&[&hours.to_string()]).set(secrets);
            }
            families.extend(warned.collect());
        }
        let authentications = IntCounterVec::new(
            Opts::new("crossfade_client_authentications_total", "Client authentications, by outcome."),
            &["outcome"],
        )?;
        // The reason is only for auditors: here it would reveal what the endpoint's single response hides (rule 16).
        for (outcome, count) in &gauges.authentications {
            let outcome = if ["ok", "throttled"].contains(outcome) { outcome } else { "failed" };
            authentications.with_label_values(&[outcome]).inc_by(*count);
        }
        families.extend(authentications.collect());
        let relayed = IntCounterVec::new(
            Opts::new(
                "crossfade_upstream_requests_total",
                "Requests for the issuers that environments are in front of, by outcome.",
            ),
            &["outcome"],
        )?;
        for (outcome, count) in &gauges.relayed {
            relayed.with_label_values(&[outcome]).inc_by(*count);
        }
        families.extend(relayed.collect());
        let ended = IntCounterVec::new(
            Opts::new(
                "crossfade_connections_ended_total",
                "Connections refused or ended by the server, by reason.",
            ),
            &["reason"],
        )?;
        for reason in Ended::ALL {
            ended.with_label_values(&[reason.as_str()]).inc_by(connections.ended_for(reason));
        }
        families.extend(ended.collect());
        let failed = IntCounterVec::new(
            Opts::new("crossfade_changes_failed_total", "Changes that the database did not store, by cause."),
            &["fault"],
        )?;
        for (fault, count) in &gauges.changes_failed {
            failed.with_label_values(&[fault]).inc_by(*count);
        }
        families.extend(failed.collect());
        families.sort_by(|one, two| one.name().cmp(two.name()));
        let mut text = Vec::new();
        TextEncoder::new().encode(&families, &mut text)?;
        Ok(text)
    }
}

/// Counts of one endpoint.
#[derive(Clone)]
pub(crate) struct Endpoint(Arc<Counted>);

/// Statuses of refusals, of which there can be as many as tokens.
const REFUSED: [u16; 3] = [400, 401, 429];

struct Counted {
    operation: &'static str,
    /// Count for status 200, which is nearly every response.
    succeeded: IntCounter,
    /// Counts for the statuses of [`REFUSED`], looked up when the first response has one.
    refused: [OnceLock<IntCounter>; REFUSED.len()],
    requests: IntCounterVec,
    durations: Histogram,
}

impl Endpoint {
    /// Counts one response.
    pub(crate) fn answered(&self, status: u16, took: Duration) {
        let Counted { operation, succeeded, refused, requests, durations } = &*self.0;
        let counter = || requests.with_label_values(&[*operation, status_text(status)]);
        match REFUSED.iter().position(|known| *known == status) {
            _ if status == 200 => succeeded.inc(),
            Some(place) => refused[place].get_or_init(counter).inc(),
            None => counter().inc(),
        }
        durations.observe(took.as_secs_f64());
    }
}

/// Returns the text of a status without allocating.
fn status_text(status: u16) -> &'static str {
    const KNOWN: [(u16, &str); 19] = [
        (200, "200"),
        (201, "201"),
        (204, "204"),
        (303, "303"),
        (304, "304"),
        (400, "400"),
        (401, "401"),
        (403, "403"),
        (404, "404"),
        (405, "405"),
        (408, "408"),
        (409, "409"),
        (410, "410"),
        (412, "412"),
        (413, "413"),
        (422, "422"),
        (429, "429"),
        (500, "500"),
        (503, "503"),
    ];
    KNOWN.iter().find(|(known, _)| *known == status).map_or("other", |(_, text)| text)
}

pub(crate) fn router() -> Router<Web> {
    Router::new().route("/metrics", get(metrics))
}

/// Returns the metrics to a scraper on this machine or with an API token.
async fn metrics(State(web): State<Web>, request: Request) -> Response {
    let (request, _) = request.into_parts();
    if !is_local(&request) && !has_token(&web, &request).await {
        let text = "Metrics can be read only from this machine, or with an API token.\n";
        let challenge = [(header::WWW_AUTHENTICATE, "Bearer realm=\"crossfade\"")];
        return (StatusCode::UNAUTHORIZED, challenge, text).into_response();
    }
    let (gauges, readiness) = tokio::join!(web.app.measure(), web.app.readiness());
    let is_ready = matches!(readiness, Readiness::Ready | Readiness::ChangesFail(_));
    match web.metrics.text(&gauges, is_ready, &web.transport) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot collect metrics");
            (StatusCode::SERVICE_UNAVAILABLE, "Metrics are temporarily unavailable.\n").into_response()
        }
    }
}

/// Whether the request was made on this machine. Through a proxy it can come from anywhere although its connection is
/// local, so a forwarded request needs a token. A request for another host also needs one: a foreign site can point its
/// name to this machine and read the responses that a browser here gets.
fn is_local(request: &Parts) -> bool {
    let (peer, headers) = (peer(&request.extensions), &request.headers);
    let forwarded =
        ["x-forwarded-for", "forwarded", "x-real-ip"].iter().any(|name| headers.contains_key(*name));
    !forwarded && peer.to_canonical().is_loopback() && hosts(request).all(is_loopback_host)
}

/// Returns the hosts named in a request. A browser always names one.
fn hosts(request: &Parts) -> impl Iterator<Item = &[u8]> {
    let target = request.uri.authority().map(|authority| authority.as_str().as_bytes());
    target.into_iter().chain(request.headers.get_all(header::HOST).iter().map(HeaderValue::as_bytes))
}

/// Whether a host, with or without a port, is a loopback name or address.
fn is_loopback_host(host: &[u8]) -> bool {
    let Some(authority) = std::str::from_utf8(host).ok().and_then(|host| host.parse::<Authority>().ok())
    else {
        return false;
    };
    let host = authority.host().trim_matches(['[', ']']);
    let is_loopback = |address: IpAddr| address.to_canonical().is_loopback();
    !authority.as_str().contains('@')
        && (host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(is_loopback))
}

async fn has_token(web: &Web, request: &Parts) -> bool {
    let Some(token) = bearer(&request.headers) else { return false };
    let origin = crate::observe::origin(web, &request.extensions, &request.headers);
    web.app.authenticate(token, origin, Intent::Read).await.is_ok()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
