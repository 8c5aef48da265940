//! The first page: what needs attention.

use super::{
    clients::{Badges, badges, registration_state},
    crossfade::Transition,
    environment::EnvironmentBadge,
    layout::{Layout, Section},
    moment, page,
    session::SignedIn,
};
use crate::{
    console::clients::State,
    reply::{Refused, Reply},
};
use askama::Template;
use axum::response::{IntoResponse, Redirect};
use crossfade_app::{App, OverdueSecret, Principal, RefusedUpstream, RunningTransition};
use crossfade_core::{
    Timestamp,
    change_over::{Assessment, Verdict},
    guard::is_urgent,
    roles::Permission,
};
use std::time::Duration;

#[derive(Template)]
#[template(path = "console/home.html")]
struct HomePage {
    layout: Layout,
    now: Timestamp,
    /// Warning about the machine's clock.
    clock: Option<String>,
    /// That nothing is sent, because the database is in another place.
    held: Option<&'static str>,
    /// Why owners are not notified, with the kind of the notice.
    mail: Option<(&'static str, String)>,
    /// That webhooks fail or were disabled.
    webhooks: Option<String>,
    /// Sentence about clients without an owner.
    ownerless: Option<String>,
    /// Whether this person can release what is held.
    releases_mail: bool,
    /// Upstream credentials that issuers refuse.
    refused: Vec<RefusedCredential>,
    transitions: Vec<Moving>,
    overdue: Vec<Overdue>,
    more_overdue: bool,
    /// Whether there is any client at all.
    has_clients: bool,
    may_create: bool,
}

/// A running transition.
struct Moving {
    client: String,
    name: String,
    slug: String,
    badge: EnvironmentBadge,
    picture: Transition,
    verdict: Option<Judged>,
}

/// The verdict of a running transition.
struct Judged {
    verdict: Verdict,
    /// Number of callers left.
    left: u64,
    /// The verdict as a sentence.
    summary: String,
    /// Whether callers would fail soon.
    urgent: bool,
}

/// A secret older than the environment's policy allows.
struct Overdue {
    client: String,
    name: String,
    slug: String,
    badge: EnvironmentBadge,
    created: Timestamp,
    /// How long it has been overdue.
    late: Duration,
    may_rotate: bool,
}

/// An upstream credential that the issuer refuses.
struct RefusedCredential {
    client: String,
    name: String,
    slug: String,
    badge: EnvironmentBadge,
    since: Timestamp,
}

impl Judged {
    fn new(assessment: &Assessment, deadline: Timestamp, now: Timestamp) -> Self {
        Self {
            verdict: assessment.verdict,
            left: assessment.callers.left(),
            summary: assessment.summary(),
            urgent: is_urgent(assessment.verdict, deadline, now),
        }
    }

    /// Returns the verdict in a few words.
    fn word(&self) -> String {
        match self.verdict {
            Verdict::NotStarted => "Not started".into(),
            Verdict::Moving | Verdict::CallersLeft if self.left == 1 => "1 caller left".into(),
            Verdict::Moving | Verdict::CallersLeft => format!("{} callers left", self.left),
            Verdict::Quiet => "Quiet".into(),
            Verdict::SafeToEnd => "Safe to end".into(),
            Verdict::Ended => "Ended".into(),
        }
    }

    fn icon(&self) -> &'static str {
        match self.verdict {
            Verdict::SafeToEnd | Verdict::Ended => "check",
            _ if self.urgent => "problem",
            _ => "clock",
        }
    }

    fn colour(&self) -> &'static str {
        match self.verdict {
            Verdict::SafeToEnd => "good",
            _ if self.urgent => "danger",
            _ => "",
        }
    }
}

impl Overdue {
    /// Returns how long it has been overdue: "12 days".
    fn days(&self) -> String {
        match self.late.as_secs() / 86_400 {
            0 => "Less than a day".to_owned(),
            1 => "1 day".to_owned(),
            days => format!("{days} days"),
        }
    }
}

fn moving(it: RunningTransition, known: &Badges, now: Timestamp) -> Option<Moving> {
    let standing = registration_state(it.line.registrations.first()?, known, now)?;
    let State::Moving(mut picture) = standing.state else { return None };
    picture.quiet = it.assessment.as_ref().is_some_and(|assessment| assessment.callers.left() == 0);
    Some(Moving {
        client: it.line.id.to_string(),
        name: it.line.name.to_string(),
        slug: standing.slug,
        badge: standing.badge,
        verdict: it.assessment.map(|assessment| Judged::new(&assessment, picture.deadline, now)),
        picture,
    })
}

fn overdue(it: OverdueSecret, known: &Badges, now: Timestamp) -> Option<Overdue> {
    let slug = it.environment.to_string();
    Some(Overdue {
        client: it.client.to_string(),
        name: it.name.to_string(),
        badge: known.get(&slug)?.badge.clone(),
        slug,
        created: it.created_at,
        late: now.since(it.due_at),
        may_rotate: it.may_rotate,
    })
}

fn refused(it: RefusedUpstream, known: &Badges) -> Option<RefusedCredential> {
    let slug = it.environment.to_string();
    Some(RefusedCredential {
        client: it.client_id.to_string(),
        name: it.client_name.to_string(),
        badge: known.get(&slug)?.badge.clone(),
        slug,
        since: it.since,
    })
}

/// Returns that nothing is sent from here, for people who manage environments, as those who can release it do.
fn held(app: &App, principal: &Principal) -> Option<&'static str> {
    app.sending_held_since()?;
    let text =
        "No mail and no webhook messages are sent, because the database is in another place than before.";
    principal.may_somewhere(Permission::EnvironmentManage).then_some(text)
}

/// Returns why owners are not notified, for people who can change it.
async fn no_mail(app: &App, principal: &Principal) -> Result<Option<(&'static str, String)>, Refused> {
    if !principal.may_somewhere(Permission::EnvironmentManage) {
        return Ok(None);
    }
    let Some(mail) = app.mail() else {
        let text = "Mail is not set up. Owners are not notified of rotations and deadlines.";
        return Ok(Some(("", text.to_owned())));
    };
    let text = match mail.failing {
        Some(said) => Some(format!("Mail cannot be sent, and messages to owners wait: {said}.")),
        None => app.late_mail().await?.map(|(waiting, oldest)| {
            let messages = if waiting == 1 { "message waits" } else { "messages wait" };
            format!(
                "Mail is late: {waiting} {messages} to be sent, the oldest since {}.",
                moment::utc(oldest)
            )
        }),
    };
    Ok(text.map(|text| ("problem", text)))
}

/// Returns that webhooks fail, were disabled or are late, for people who can change it.
async fn broken_webhooks(app: &App, principal: &Principal) -> Result<Option<String>, Refused> {
    let (disabled, failing) = app.count_broken_webhooks(principal).await?;
    let disabled = match disabled {
        0 => None,
        1 => Some("1 webhook is disabled because of its receiver. Its messages are not sent.".to_owned()),
        number => Some(format!(
            "{number} webhooks are disabled because of their receivers. Their messages are not sent."
        )),
    };
    let failing = match failing {
        0 => None,
        1 => Some("1 webhook fails. Its messages wait, and are repeated.".to_owned()),
        number => Some(format!("{number} webhooks fail. Their messages wait, and are repeated.")),
    };
    Ok(match (disabled, failing) {
        (Some(disabled), Some(failing)) => Some(format!("{disabled} {failing}")),
        (None, None) if principal.may_somewhere(Permission::EnvironmentManage) => {
            app.late_webhooks().await?.map(|(waiting, oldest)| {
                let deliveries = if waiting == 1 { "delivery waits" } else { "deliveries wait" };
                let oldest = moment::utc(oldest);
                format!("Webhooks are late: {waiting} {deliveries} to be made, the oldest since {oldest}.")
            })
        }
        (disabled, failing) => disabled.or(failing),
    })
}

/// Returns a sentence about clients without an owner; `None` if each has one.
fn without_owner((count, has_more): (u64, bool)) -> Option<String> {
    let clients = match (count, has_more) {
        (0, _) => return None,
        (1, false) => "1 client has no owner".to_owned(),
        (count, false) => format!("{count} clients have no owner"),
        (count, true) => format!("At least {count} clients have no owner"),
    };
    Some(format!("{clients}. Nobody is notified of rotations and deadlines."))
}

pub(super) async fn show(signed: SignedIn) -> Reply {
    let (app, principal) = (&signed.app, signed.principal());
    if !principal.may_somewhere(Permission::ClientRead) {
        let first = Section::of(principal).into_iter().next().unwrap_or(Section::Account);
        return Ok(Redirect::to(first.path()).into_response());
    }
    let read = app.read_overview(principal).await?;
    let (now, known) = (read.now, badges(&read.environments));
    Ok(page(&HomePage {
        layout: signed.layout(Section::Overview, "Overview"),
        now,
        clock: app.clock_warning(),
        held: held(app, principal),
        mail: match read.has_clients && app.sending_held_since().is_none() {
            true => no_mail(app, principal).await?,
            false => None,
        },
        webhooks: broken_webhooks(app, principal).await?,
        ownerless: without_owner(read.ownerless),
        releases_mail: principal.may_somewhere(Permission::QuarantineManage),
        refused: read.refused_upstream.into_iter().filter_map(|it| refused(it, &known)).collect(),
        transitions: read.transitions.into_iter().filter_map(|it| moving(it, &known, now)).collect(),
        overdue: read.overdue.into_iter().filter_map(|it| overdue(it, &known, now)).collect(),
        more_overdue: read.more_overdue,
        has_clients: read.has_clients,
        may_create: principal.may_somewhere(Permission::ClientManage),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::crossfade::samples;

    fn sample(transitions: Vec<Moving>, has_clients: bool) -> String {
        let home = HomePage {
            layout: Layout::sample(Section::Overview, "Overview"),
            now: samples::now(),
            clock: None,
            held: None,
            mail: None,
            webhooks: None,
            ownerless: without_owner((2, false)).filter(|_| has_clients),
            releases_mail: false,
            refused: Vec::new(),
            transitions,
            overdue: Vec::new(),
            more_overdue: false,
            has_clients,
            may_create: true,
        };
        home.render().unwrap()
    }

    #[test]
    fn a_new_instance_is_told_what_comes_first_and_a_calm_one_that_it_is_calm() {
        assert!(sample(Vec::new(), false).contains("Create client"));
        assert!(sample(Vec::new(), true).contains("Nothing needs attention"));
    }

    #[test]
    fn clients_without_an_owner_are_counted_and_linked() {
        let html = sample(Vec::new(), true);
        assert!(html.contains("2 clients have no owner") && html.contains("/console/clients?ownerless=true"));
        let said = |count, has_more| without_owner((count, has_more)).unwrap_or_default();
        assert!(said(0, false).is_empty() && said(1, false).starts_with("1 client has no owner."));
        assert!(said(20, true).starts_with("At least 20 clients"));
    }

    #[test]
    fn each_transition_has_its_verdict_and_an_urgent_one_stands_out() {
        let moving = |verdict, left, urgent| Moving {
            client: "cl_1".into(),
            name: "Billing".into(),
            slug: "production".into(),
            badge: EnvironmentBadge::new("Production", crossfade_core::environment::EnvironmentKind::Live, 2),
            picture: samples::moving(20),
            verdict: Some(Judged { verdict, left, summary: "As the rules say.".into(), urgent }),
        };
        let html = sample(vec![moving(Verdict::CallersLeft, 1, true)], true);
        assert!(
            html.contains("1 caller left")
                && html.contains("badge danger")
                && html.contains("As the rules say.")
        );
        let html = sample(vec![moving(Verdict::Moving, 7, false)], true);
        assert!(html.contains("7 callers left") && !html.contains("badge danger"));
        let html = sample(vec![moving(Verdict::SafeToEnd, 0, false)], true);
        assert!(html.contains("Safe to end") && html.contains("badge good"));
        let html = sample(vec![Moving { verdict: None, ..moving(Verdict::Quiet, 0, false) }], true);
        assert!(!html.contains("Quiet"));
    }
}
