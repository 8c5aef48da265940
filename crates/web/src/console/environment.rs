//! The badge of an environment: a word and a colour. Live environments look different from all others.

use crossfade_core::environment::EnvironmentKind;

/// The name of an environment in its colour.
#[derive(Clone, Debug, askama::Template)]
#[template(source = r#"<span class="env {{ class }}">{{ name }}</span>"#, ext = "html")]
pub(crate) struct EnvironmentBadge {
    name: String,
    class: &'static str,
}

/// Colours of test environments, in order.
const TEST: [&str; 4] = ["test-1", "test-2", "test-3", "test-4"];

impl EnvironmentBadge {
    /// Returns the badge of the environment `name` at `position` of the list.
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
