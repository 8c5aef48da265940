//! Settings that registrations have in common, kept in memory once.

use crossfade_core::{
    environment::Slug,
    networks::Networks,
    registration::{AuthMethods, Scopes, TokenTtl},
    upstream::IssuerMode,
};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

/// Settings of a registration on the request path.
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct Settings {
    pub(crate) environment: Slug,
    pub(crate) issuer_mode: IssuerMode,
    pub(crate) scopes: Scopes,
    pub(crate) audience: Option<Box<str>>,
    pub(crate) ttl: TokenTtl,
    pub(crate) may_introspect: bool,
    pub(super) allowed_networks: Option<Networks>,
    pub(super) methods: AuthMethods,
}

/// All settings that a registration has. Most registrations have the settings of many others.
#[derive(Default)]
pub(crate) struct Shared(Mutex<Known>);

#[derive(Default)]
struct Known {
    settings: HashSet<Arc<Settings>>,
    /// Number of settings at which those that no registration has any more are removed.
    tidy_at: usize,
}

/// Least number of settings at which unused ones are removed.
const TIDY_AT: usize = 64;

impl Shared {
    /// Returns the one copy of these settings.
    pub(super) fn one(&self, settings: Settings) -> Arc<Settings> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(one) = known.settings.get(&settings) {
            return one.clone();
        }
        if known.settings.len() >= known.tidy_at.max(TIDY_AT) {
            known.settings.retain(|settings| Arc::strong_count(settings) > 1);
            // Twice as many, so that each removal is paid for by as many additions.
            known.tidy_at = known.settings.len() * 2;
        }
        let one = Arc::new(settings);
        known.settings.insert(one.clone());
        one
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(ttl: i64) -> Settings {
        Settings {
            environment: Slug::parse("slug", "staging").unwrap(),
            issuer_mode: IssuerMode::Own,
            scopes: Scopes::default(),
            audience: None,
            ttl: TokenTtl::parse(ttl).unwrap(),
            may_introspect: false,
            allowed_networks: None,
            methods: AuthMethods::default(),
        }
    }

    #[test]
    fn equal_settings_are_one_and_unused_ones_are_removed() {
        let shared = Shared::default();
        let (one, same, other) =
            (shared.one(settings(60)), shared.one(settings(60)), shared.one(settings(61)));
        assert!(Arc::ptr_eq(&one, &same) && !Arc::ptr_eq(&one, &other));
        for ttl in 100..10_000 {
            shared.one(settings(ttl));
        }
        let known = shared.0.lock().unwrap();
        assert!(known.settings.len() <= TIDY_AT, "{}", known.settings.len());
        assert!(known.settings.contains(&settings(60)) && known.settings.contains(&settings(61)));
    }
}
