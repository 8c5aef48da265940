//! The frame of a page: title, breadcrumbs, navigation and the signed-in person.

use super::{environment::EnvironmentBadge, theme::Theme};
use crossfade_app::Caller;
use crossfade_core::roles::Permission;

/// A place of the rail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Section {
    Overview,
    Clients,
    Properties,
    Environments,
    Audit,
    People,
    /// Not in the rail: the account menu leads there.
    Account,
}

impl Section {
    /// The rail, top to bottom.
    pub(crate) const RAIL: &[Self] =
        &[Self::Overview, Self::Clients, Self::Properties, Self::Environments, Self::Audit, Self::People];

    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Clients => "Clients",
            Self::Properties => "Properties",
            Self::Environments => "Environments",
            Self::Audit => "Audit",
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
            Self::People => "/console/people",
            Self::Account => "/console/account",
        }
    }

    /// Returns the permission that shows the section in the rail, held on any object.
    pub(crate) fn permission(&self) -> Option<Permission> {
        match self {
            Self::Overview | Self::Clients | Self::Properties | Self::Environments => {
                Some(Permission::ClientRead)
            }
            Self::Audit => Some(Permission::AuditRead),
            Self::People => Some(Permission::UserRead),
            Self::Account => None,
        }
    }

    /// Returns the rail of a caller.
    pub(crate) fn of(caller: &Caller) -> Vec<Self> {
        let may =
            |section: &&Self| section.permission().is_none_or(|permission| caller.may_somewhere(permission));
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
            Self::People => "people",
            Self::Account => "account",
        }
    }

    /// Returns the letter that leads there after `g`.
    pub(crate) fn key(&self) -> &'static str {
        match self {
            Self::Overview => "o",
            Self::Clients => "c",
            Self::Properties => "r",
            Self::Environments => "e",
            Self::Audit => "t",
            Self::People => "p",
            Self::Account => "a",
        }
    }
}

/// Who is signed in, as the frame shows them.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) name: String,
    pub(crate) email: String,
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

/// The frame of a page. Made by `SignedIn::layout`.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) title: String,
    pub(crate) section: Section,
    /// The sections that this person may read.
    pub(crate) nav: Vec<Section>,
    pub(crate) person: Person,
    pub(crate) theme: Theme,
    /// The path of this page, to come back to.
    pub(crate) here: String,
    /// What stands above it: label and path.
    pub(crate) crumbs: Vec<(String, String)>,
    /// The environment that the whole page is about.
    pub(crate) environment: Option<EnvironmentBadge>,
    /// Whether the title is its name already.
    pub(crate) names_environment: bool,
    /// What the request before has done, in a sentence.
    pub(crate) done: Option<String>,
}

impl Layout {
    /// Adds what stands above this page.
    pub(crate) fn crumb(mut self, label: &str, path: &str) -> Self {
        self.crumbs.push((label.to_owned(), path.to_owned()));
        self
    }

    /// The page is about one environment.
    pub(crate) fn in_environment(mut self, environment: EnvironmentBadge) -> Self {
        self.environment = Some(environment);
        self
    }

    /// The page belongs to one environment, which its title names.
    pub(crate) fn of_environment(mut self, environment: EnvironmentBadge) -> Self {
        self.names_environment = true;
        self.in_environment(environment)
    }

    /// Says what the request before has done.
    pub(crate) fn done(mut self, sentence: Option<impl Into<String>>) -> Self {
        self.done = sentence.map(Into::into);
        self
    }

    /// Whether what is done here reaches real users.
    pub(crate) fn is_live(&self) -> bool {
        self.environment.as_ref().is_some_and(EnvironmentBadge::is_live)
    }
}

/// The frame of a page without a rail.
#[derive(Clone, Debug)]
pub(crate) struct Sheet {
    pub(crate) title: &'static str,
    pub(crate) theme: Theme,
    /// For a page with a table.
    pub(crate) wide: bool,
}

#[cfg(any(test, debug_assertions))]
impl Layout {
    /// As the samples of pages have it.
    pub(crate) fn sample(section: Section, title: &str) -> Self {
        Self {
            title: title.to_owned(),
            section,
            nav: Section::RAIL.to_vec(),
            person: Person { name: "Ada Lovelace".into(), email: "ada@example.com".into() },
            theme: Theme::System,
            here: section.path().to_owned(),
            crumbs: Vec::new(),
            environment: None,
            names_environment: false,
            done: None,
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
            assert_eq!(Person { name: name.into(), email: String::new() }.initials(), initials, "{name}");
        }
    }
}
