//! The frame of a page: title, breadcrumbs, navigation and the signed-in person.

use super::{environment::EnvironmentBadge, theme::Theme};
use crossfade_app::Principal;
use crossfade_core::roles::Permission;

/// A section of the navigation rail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Section {
    Overview,
    Clients,
    Properties,
    Environments,
    Audit,
    Leaks,
    Webhooks,
    Mail,
    Nodes,
    People,
    /// Not in the rail; the account menu links to it.
    Account,
}

impl Section {
    /// Sections of the rail, top to bottom.
    pub(crate) const RAIL: &[Self] = &[
        Self::Overview,
        Self::Clients,
        Self::Properties,
        Self::Environments,
        Self::Audit,
        Self::Leaks,
        Self::Webhooks,
        Self::Mail,
        Self::Nodes,
        Self::People,
    ];

    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Clients => "Clients",
            Self::Properties => "Properties",
            Self::Environments => "Environments",
            Self::Audit => "Audit",
            Self::Leaks => "Leaks",
            Self::Webhooks => "Webhooks",
            Self::Mail => "Mail",
            Self::Nodes => "Nodes",
            Self::People => "People",
            Self::Account => "Your account",
        }
    }

    pub(crate) fn path(&self) -> &'static str {
        match self {
            Self::Overview => "/console",
            Self::Clients => "/console/clients",
            Self::Properties => "/console/properties",
            Self::Environments => "/console/environments",
            Self::Audit => "/console/audit",
            Self::Leaks => "/console/leaks",
            Self::Webhooks => "/console/webhooks",
            Self::Mail => "/console/mail",
            Self::Nodes => "/console/nodes",
            Self::People => "/console/people",
            Self::Account => "/console/account",
        }
    }

    /// Returns the permission that shows the section in the rail, held on any object, or on the platform for what belongs to
    /// no object.
    pub(crate) fn permission(&self) -> Option<Permission> {
        match self {
            Self::Overview
            | Self::Clients
            | Self::Properties
            | Self::Environments
            | Self::Leaks
            | Self::Nodes => Some(Permission::ClientRead),
            Self::Audit => Some(Permission::AuditRead),
            Self::Webhooks => Some(Permission::WebhookManage),
            Self::Mail => Some(Permission::QuarantineManage),
            Self::People => Some(Permission::UserRead),
            Self::Account => None,
        }
    }

    /// Returns the rail of a principal.
    pub(crate) fn of(principal: &Principal) -> Vec<Self> {
        let may = |section: &&Self| {
            section.permission().is_none_or(|permission| match section {
                Self::Nodes => principal.may_on_platform(permission),
                _ => principal.may_somewhere(permission),
            })
        };
        Self::RAIL.iter().filter(may).copied().collect()
    }

    /// Returns the symbol in `icons.html`.
    pub(crate) fn icon(&self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Clients => "clients",
            Self::Properties => "properties",
            Self::Environments => "environments",
            Self::Audit => "audit",
            Self::Leaks => "shield",
            Self::Webhooks => "link",
            Self::Mail => "mail",
            Self::Nodes => "nodes",
            Self::People => "people",
            Self::Account => "account",
        }
    }

    /// Returns the letter that opens the section after `g`.
    pub(crate) fn key(&self) -> &'static str {
        match self {
            Self::Overview => "o",
            Self::Clients => "c",
            Self::Properties => "r",
            Self::Environments => "e",
            Self::Audit => "t",
            Self::Leaks => "l",
            Self::Webhooks => "w",
            Self::Mail => "m",
            Self::Nodes => "n",
            Self::People => "p",
            Self::Account => "a",
        }
    }
}

/// The signed-in person, for the frame.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) name: String,
    pub(crate) email: String,
    /// Whether the code of a second factor is asked for with the password.
    pub(crate) has_factor: bool,
    /// Whether a passkey can confirm instead, here.
    pub(crate) uses_passkey: bool,
}

impl Person {
    /// Returns the first letters of the first and the last word of the name.
    pub(crate) fn initials(&self) -> String {
        let mut words = self.name.split_whitespace().filter_map(|word| word.chars().next());
        let first = words.next();
        let letters = first.into_iter().chain(words.next_back());
        letters.flat_map(char::to_uppercase).collect()
    }
}

/// The frame of a page. Created by `SignedIn::layout`.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) title: String,
    pub(crate) section: Section,
    /// Sections that this person can read.
    pub(crate) nav: Vec<Section>,
    pub(crate) person: Person,
    pub(crate) theme: Theme,
    /// Path of this page, for coming back.
    pub(crate) here: String,
    /// Breadcrumbs: label and path.
    pub(crate) crumbs: Vec<(String, String)>,
    /// Environment of the page.
    pub(crate) environment: Option<EnvironmentBadge>,
    /// Whether the title already names the environment.
    pub(crate) names_environment: bool,
    /// What the previous request did, as a sentence.
    pub(crate) done: Option<String>,
    /// What the reader must know about the previous request, on any page.
    pub(crate) warning: Option<&'static str>,
    /// Why the instance is in quarantine.
    pub(crate) quarantine: Option<&'static str>,
    /// Whether this person can release the quarantine.
    pub(crate) may_release: bool,
    /// Name of the provider that confirms the session, and the address that leads there; `None`: the password does.
    pub(crate) confirms_with: Option<(String, String)>,
}

impl Layout {
    /// Adds a breadcrumb.
    pub(crate) fn crumb(mut self, label: &str, path: &str) -> Self {
        self.crumbs.push((label.to_owned(), path.to_owned()));
        self
    }

    /// Marks the page as being about one environment.
    pub(crate) fn in_environment(mut self, environment: EnvironmentBadge) -> Self {
        self.environment = Some(environment);
        self
    }

    /// Marks the page as the environment's own, whose title names it.
    pub(crate) fn of_environment(mut self, environment: EnvironmentBadge) -> Self {
        self.names_environment = true;
        self.in_environment(environment)
    }

    /// Sets the sentence about the previous request.
    pub(crate) fn done(mut self, sentence: Option<impl Into<String>>) -> Self {
        self.done = sentence.map(Into::into).or(self.done);
        self
    }

    /// Whether actions on this page affect real users.
    pub(crate) fn is_live(&self) -> bool {
        self.environment.as_ref().is_some_and(EnvironmentBadge::is_live)
    }
}

/// The frame of a page without a rail.
#[derive(Clone, Debug)]
pub(crate) struct Sheet {
    pub(crate) title: &'static str,
    pub(crate) theme: Theme,
    /// Whether the page has a table.
    pub(crate) wide: bool,
}

#[cfg(any(test, debug_assertions))]
impl Layout {
    /// Returns the frame for samples of pages.
    pub(crate) fn sample(section: Section, title: &str) -> Self {
        Self {
            title: title.to_owned(),
            section,
            nav: Section::RAIL.to_vec(),
            person: Person {
                name: "Ada Lovelace".into(),
                email: "ada@example.com".into(),
                has_factor: false,
                uses_passkey: false,
            },
            theme: Theme::System,
            here: section.path().to_owned(),
            crumbs: Vec::new(),
            environment: None,
            names_environment: false,
            done: None,
            warning: None,
            quarantine: None,
            may_release: false,
            confirms_with: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initials() {
        for (name, initials) in
            [("Ada Lovelace", "AL"), ("ada", "A"), ("Ana María de la Cruz", "AC"), ("", ""), ("ßen", "SS")]
        {
            let person =
                Person { name: name.into(), email: String::new(), has_factor: false, uses_passkey: false };
            assert_eq!(person.initials(), initials, "{name}");
        }
    }
}
