//! The list of clients.

use super::parts::{Standing, State, badges, needs_attention, registration_state};
use crate::console::{
    form::{Fields, Form},
    layout::{Layout, Section},
    page,
    session::SignedIn,
};
use crate::reply::Reply;
use askama::Template;
use axum::extract::RawQuery;
use crossfade_app::{ClientLine, ClientList, ClientOrder, ClientQuery, ListQuery};
use crossfade_core::{Timestamp, roles::Permission};

#[derive(Template)]
#[template(path = "console/clients/list.html")]
struct ListPage {
    layout: Layout,
    now: Timestamp,
    filter: Form,
    properties: Vec<(String, String)>,
    environments: Vec<(String, String)>,
    lines: Vec<Line>,
    order: ClientOrder,
    address: Address,
    next: String,
    may_create: bool,
    /// Whether an environment is in front of another issuer, so that a client can be without a secret.
    has_fronts: bool,
}

impl ListPage {
    fn shown(&self) -> String {
        match self.lines.len() {
            1 => "1 client on this page".to_owned(),
            count => format!("{count} clients on this page"),
        }
    }
}

/// A client.
struct Line {
    id: String,
    name: String,
    property: String,
    standings: Vec<Standing>,
    /// The environment that determines the order, or that was asked for; without one, what needs attention comes first.
    about: Option<String>,
}

impl Line {
    fn first(&self) -> Option<&Standing> {
        match &self.about {
            Some(slug) => self.standings.iter().find(|standing| standing.slug == *slug),
            None => needs_attention(&self.standings),
        }
    }

    fn last_used_at(&self) -> Option<Timestamp> {
        self.standings.iter().filter_map(|standing| standing.last_used_at).max()
    }
}

/// Returns an order as a word in a URL.
fn word(order: ClientOrder) -> &'static str {
    match order {
        ClientOrder::Name => "name",
        ClientOrder::NameReversed => "name-reversed",
        ClientOrder::OldestSecret => "oldest-secret",
        ClientOrder::NewestSecret => "newest-secret",
    }
}

fn order(fields: &Fields) -> ClientOrder {
    use ClientOrder::{Name, NameReversed, NewestSecret, OldestSecret};
    let asked = fields.text("sort");
    [Name, NameReversed, OldestSecret, NewestSecret]
        .into_iter()
        .find(|order| word(*order) == asked)
        .unwrap_or_default()
}

/// The filters of the page, for links to other pages with the same filters.
struct Address(Fields);

const FILTERS: [&str; 6] = ["q", "property_id", "environment", "overdue", "ownerless", "without_secret"];

impl Address {
    fn with(&self, more: &[(&str, &str)]) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for name in FILTERS.into_iter().chain(["sort"]) {
            if let Some(value) = self.0.filled(name).filter(|_| more.iter().all(|(own, _)| *own != name)) {
                query.append_pair(name, value);
            }
        }
        format!("/console/clients?{}", query.extend_pairs(more).finish())
    }

    fn sorted(&self, order: ClientOrder) -> String {
        self.with(&[("sort", word(order))])
    }

    /// Returns the address of the first page; empty on the first page.
    fn first(&self) -> String {
        if self.0.ticked("cursor") { self.with(&[]) } else { String::new() }
    }

    fn is_filtered(&self) -> bool {
        FILTERS.iter().any(|name| self.0.filled(name).is_some())
    }
}

fn query(fields: &Fields) -> ClientQuery {
    let own = |name: &str| fields.filled(name).map(str::to_owned);
    ClientQuery {
        list: ListQuery { limit: None, cursor: own("cursor") },
        q: own("q"),
        property_id: own("property_id"),
        environment: own("environment"),
        overdue: own("overdue"),
        ownerless: own("ownerless"),
        without_secret: own("without_secret"),
    }
}

pub(super) async fn show(signed: SignedIn, RawQuery(raw): RawQuery) -> Reply {
    let fields = Fields::parse(raw.unwrap_or_default().as_bytes());
    let order = order(&fields);
    let principal = signed.principal();
    let read = signed.app.read_client_list(principal, &query(&fields), order).await?;
    let ClientList { now, lines: found, environments, properties } = read;
    let known = badges(&environments);
    let about = |line: &ClientLine| {
        let (_, secret) = line.placed_by.as_ref()?;
        let placed = line.registrations.iter().find(|it| it.current.as_ref() == Some(secret))?;
        Some(placed.environment.to_string())
    };
    let asked = fields.filled("environment").map(str::to_owned);
    let line = |line: ClientLine| Line {
        about: about(&line).or_else(|| asked.clone()),
        standings: line.registrations.iter().filter_map(|it| registration_state(it, &known, now)).collect(),
        id: line.id.to_string(),
        name: line.name.to_string(),
        property: line.property.to_string(),
    };
    let address = Address(fields.clone());
    let done = (signed.said() == "deleted").then(|| {
        format!("The client was deleted. Its secrets and tokens no longer work. {}", signed.enforced())
    });
    let any = |label: &str| vec![(String::new(), label.to_owned())];
    Ok(page(&ListPage {
        layout: signed.layout(Section::Clients, "Clients").done(done.as_deref().map(str::trim_end)),
        now,
        filter: Form::new("", fields),
        has_fronts: environments.iter().any(|it| it.upstream.is_some()),
        properties: any("All properties")
            .into_iter()
            .chain(properties.into_iter().map(|it| (it.id.to_string(), it.name)))
            .collect(),
        environments: any("All environments")
            .into_iter()
            .chain(environments.into_iter().map(|it| (it.slug, it.name)))
            .collect(),
        lines: found.items.into_iter().map(line).collect(),
        order,
        next: found.next_cursor.map(|cursor| address.with(&[("cursor", &cursor)])).unwrap_or_default(),
        address,
        may_create: principal.may_somewhere(Permission::ClientManage),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::{clients::parts::samples, crossfade};

    fn sample(lines: Vec<Line>, query: &str) -> String {
        let fields = Fields::parse(query.as_bytes());
        let listed = ListPage {
            layout: Layout::sample(Section::Clients, "Clients"),
            now: crossfade::samples::now(),
            filter: Form::new("", fields.clone()),
            properties: vec![(String::new(), "All properties".into())],
            environments: vec![(String::new(), "All environments".into())],
            lines,
            order: ClientOrder::Name,
            address: Address(fields),
            next: String::new(),
            may_create: true,
            has_fronts: true,
        };
        listed.render().unwrap()
    }

    #[test]
    fn an_empty_list_teaches_and_a_filtered_one_says_so() {
        assert!(sample(Vec::new(), "").contains("No clients yet"));
        let html = sample(Vec::new(), "q=billing");
        assert!(html.contains("No matching clients") && !html.contains("No clients yet"));
    }

    #[test]
    fn a_line_shows_what_needs_attention_first() {
        let line = Line {
            id: "cl_0000000000000000000001".into(),
            name: "Billing <API>".into(),
            property: "Shop".into(),
            standings: vec![samples::rest("staging"), samples::moving("production")],
            about: None,
        };
        assert_eq!(line.first().map(|it| it.slug.as_str()), Some("production"));
        let html = sample(vec![line], "");
        assert!(html.contains("Billing &#60;API&#62;") && html.contains("crossfade bar"), "{html}");
    }

    #[test]
    fn an_address_keeps_the_filters_and_forgets_the_page() {
        let address = Address(Fields::parse(b"q=a%26b&cursor=x&environment=production"));
        assert_eq!(
            address.sorted(ClientOrder::OldestSecret),
            "/console/clients?q=a%26b&environment=production&sort=oldest-secret"
        );
        assert_eq!(address.first(), "/console/clients?q=a%26b&environment=production");
        assert!(address.is_filtered());
    }
}
