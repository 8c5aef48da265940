//! An environment as a page names it: a word and a colour, and what is live looks like nothing else.

use crossfade_core::environment::EnvironmentKind;

/// The name of an environment in its colour.
#[derive(Clone, Debug, askama::Template)]
#[template(source = r#"<span class="env {{ class }}">{{ name }}</span>"#, ext = "html")]
pub(crate) struct EnvironmentBadge {
    name: String,
    class: &'static str,
}

/// Colours of environments for tests, one after the other.
const TEST: [&str; 4] = ["test-1", "test-2", "test-3", "test-4"];

impl EnvironmentBadge {
    /// Returns the environment `name`, which stands at `position` of the list.
    pub(crate) fn new(name: &str, kind: EnvironmentKind, position: usize) -> Self {
        let class = match kind {
            EnvironmentKind::Live => "live",
            EnvironmentKind::Test => TEST[position % TEST.len()],
        };
        Self { name: name.to_owned(), class }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn is_live(&self) -> bool {
        self.class == "live"
    }
}

impl askama::filters::HtmlSafe for EnvironmentBadge {}
