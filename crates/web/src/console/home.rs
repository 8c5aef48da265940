//! The first page: what needs attention.

use super::{
    clients::{Badges, badges, registration_state},
    crossfade::Transition,
    environment::EnvironmentBadge,
    error::Reply,
    layout::{Layout, Section},
    page,
    session::SignedIn,
};
use crate::console::clients::{Standing, State};
use askama::Template;
use axum::response::{IntoResponse, Redirect};
use crossfade_app::{ClientLine, ClientOrder, ClientQuery, ListQuery, NeededSecret};
use crossfade_core::{Timestamp, roles::Permission};

#[derive(Template)]
#[template(path = "console/home.html")]
struct HomePage {
    layout: Layout,
    now: Timestamp,
    /// Warning about the machine's clock.
    clock: Option<String>,
    near: Vec<Near>,
    transitions: Vec<Moving>,
    overdue: Vec<Overdue>,
    more_overdue: bool,
    /// Whether there is any client at all.
    has_clients: bool,
    may_create: bool,
}

/// A deadline with a warning, of a secret that is still needed.
struct Near {
    client: String,
    name: String,
    slug: String,
    badge: EnvironmentBadge,
    deadline: Timestamp,
    /// The verdict as a sentence.
    summary: String,
}

/// A running transition.
struct Moving {
    client: String,
    name: String,
    slug: String,
    badge: EnvironmentBadge,
    picture: Transition,
    old_used_at: Option<Timestamp>,
}

/// A secret older than the environment's policy allows.
struct Overdue {
    client: String,
    name: String,
    slug: String,
    badge: EnvironmentBadge,
    created: Timestamp,
}

const URGENT_SECONDS: u64 = 6 * 3600;

impl Moving {
    /// Whether callers would fail soon.
    fn is_urgent(&self) -> bool {
        self.old_used_at.is_some() && self.picture.deadline.since(self.picture.now).as_secs() < URGENT_SECONDS
    }
}

fn moving(line: &ClientLine, standing: Standing) -> Option<Moving> {
    let State::Moving(picture) = standing.state else { return None };
    Some(Moving {
        client: line.id.to_string(),
        name: line.name.to_string(),
        slug: standing.slug,
        badge: standing.badge,
        picture,
        old_used_at: standing.old_used_at,
    })
}

fn near(it: NeededSecret, known: &Badges) -> Option<Near> {
    let slug = it.near.environment.to_string();
    Some(Near {
        client: it.near.client_id.to_string(),
        name: it.near.client.to_string(),
        badge: known.get(&slug)?.badge.clone(),
        slug,
        deadline: it.near.rule.deadline,
        summary: it.assessment.summary(),
    })
}

fn overdue(line: &ClientLine, standing: Standing) -> Option<Overdue> {
    let late = standing.is_overdue();
    let State::Rest(rest) = standing.state else { return None };
    late.then(|| Overdue {
        client: line.id.to_string(),
        name: line.name.to_string(),
        slug: standing.slug,
        badge: standing.badge,
        created: rest.created,
    })
}

pub(super) async fn show(signed: SignedIn) -> Reply {
    let (app, caller, now) = (&signed.app, signed.caller(), signed.session.now);
    if !caller.may_somewhere(Permission::ClientRead) {
        let first = Section::of(caller).into_iter().next().unwrap_or(Section::Account);
        return Ok(Redirect::to(first.path()).into_response());
    }
    let known = badges(&app.list_environments(caller).await?);
    let list = |limit: &str| ListQuery { limit: Some(limit.to_owned()), cursor: None };
    let late = ClientQuery { list: list("20"), overdue: Some("true".into()), ..ClientQuery::default() };
    let late = app.list_client_lines(caller, &late, ClientOrder::Name).await?;
    let any = ClientQuery { list: list("1"), ..ClientQuery::default() };
    let any = app.list_client_lines(caller, &any, ClientOrder::Name).await?;
    let lines = app.list_transitions(caller).await?;
    // Listing transitions has just flushed the evidence, so this reads fresh data.
    let told = app.list_told_deadlines(caller).await?;
    let standings = |line: &ClientLine| -> Vec<Standing> {
        line.registrations.iter().filter_map(|it| registration_state(it, &known, now)).collect()
    };
    Ok(page(&HomePage {
        layout: signed.layout(Section::Overview, "Overview"),
        now,
        clock: app.clock_warning(),
        near: told.into_iter().filter_map(|it| near(it, &known)).collect(),
        transitions: lines
            .iter()
            .flat_map(|line| standings(line).into_iter().filter_map(move |it| moving(line, it)))
            .collect(),
        overdue: late
            .items
            .iter()
            .flat_map(|line| standings(line).into_iter().filter_map(move |it| overdue(line, it)))
            .collect(),
        more_overdue: late.next_cursor.is_some(),
        has_clients: !any.items.is_empty(),
        may_create: caller.may_somewhere(Permission::ClientManage),
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
            near: Vec::new(),
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
    fn a_transition_near_its_deadline_with_callers_left_is_marked() {
        let moving = |hours, used: bool| Moving {
            client: "cl_1".into(),
            name: "Billing".into(),
            slug: "production".into(),
            badge: EnvironmentBadge::new("Production", crossfade_core::environment::EnvironmentKind::Live, 2),
            picture: samples::moving(hours),
            old_used_at: used.then(samples::now),
        };
        assert!(sample(vec![moving(20, true)], true).contains("Old secret still in use"));
        assert!(!sample(vec![moving(20, false)], true).contains("Old secret still in use"));
        assert!(!sample(vec![moving(2, true)], true).contains("Old secret still in use"));
    }
}
