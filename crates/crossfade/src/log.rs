//! Log levels, for everything and for individual parts.

use crate::failure::Failure;
use tracing_subscriber::filter::{LevelFilter, Targets};

/// Parts whose lines quote what browsers sent, which strangers could fill the log with. What they find is in the trail. They
/// log only if a directive names them.
const QUIET_PARTS: [&str; 2] = ["webauthn_rs_core", "crypto_glue"];

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Refuses text that is not a list of levels. The filter itself would treat a mistyped level as the name of a part, and
/// log nothing else.
pub(crate) fn checked(directives: String) -> Result<String, Failure> {
    match directives.split(',').position(|directive| !is_directive(directive.trim())) {
        None => Ok(directives),
        // Not quoted: it may be a URL with a password.
        Some(at) => Err(Failure::usage(format!(
            "log must be a level ({}), or a list such as info,crossfade_web=debug. Number {} is neither.",
            LEVELS.join(", "),
            at + 1
        ))),
    }
}

/// Builds the filter of a list that `checked` has accepted.
pub(crate) fn filter(directives: &str) -> Result<Targets, Failure> {
    // A space would become part of a name.
    let directives: String = directives.split_whitespace().collect();
    let filter: Targets = directives
        .parse()
        .map_err(|_| Failure::usage(format!("log is not a valid filter: {directives}.")))?;
    let is_named = |part: &&str| directives.split(',').any(|it| it.starts_with(*part));
    let quiet = QUIET_PARTS.into_iter().filter(|part| !is_named(part));
    Ok(filter.with_targets(quiet.map(|part| (part, LevelFilter::OFF))))
}

fn is_directive(text: &str) -> bool {
    let is_level = |text: &str| LEVELS.contains(&text.to_ascii_lowercase().as_str());
    let is_part = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_:-".contains(&byte))
    };
    match text.split_once('=') {
        None => is_level(text),
        Some((part, level)) => is_part(part) && is_level(level),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_a_list_of_levels() {
        for good in [
            "info",
            "INFO",
            "off",
            "info,sqlx=warn",
            "crossfade_web=debug",
            "warn, crossfade_app::jobs::worker=trace",
        ] {
            assert!(checked(good.to_owned()).is_ok(), "{good}");
        }
    }

    #[test]
    fn the_filter_of_a_list_has_the_level_of_each_part() {
        use tracing::Level;
        let filter = filter("Warn, crossfade_app::jobs::worker=trace,sqlx=OFF").unwrap();
        for (part, level, wanted) in [
            ("crossfade_web", Level::WARN, true),
            ("crossfade_web", Level::INFO, false),
            ("crossfade_app::jobs::worker", Level::TRACE, true),
            ("crossfade_app::jobs::worker::flush", Level::TRACE, true),
            ("crossfade_app", Level::INFO, false),
            ("sqlx::query", Level::ERROR, false),
        ] {
            assert_eq!(filter.would_enable(part, &level), wanted, "{part} {level}");
        }
    }

    #[test]
    fn what_browsers_sent_is_logged_only_if_it_is_asked_for_by_name() {
        use tracing::Level;
        let enables = |directives: &str, level| {
            filter(directives).unwrap().would_enable("webauthn_rs_core::core", &level)
        };
        assert!(!enables("trace", Level::ERROR) && !enables("info,crossfade_web=debug", Level::ERROR));
        assert!(enables("info,webauthn_rs_core=debug", Level::DEBUG));
    }

    #[test]
    fn a_log_that_would_say_nothing_is_refused_with_an_example() {
        for bad in
            ["nonsense=", "inof", "=info", "info,", ",", "crossfade_web", "sqlx=loud", "a=b=c", "info;debug"]
        {
            let said = checked(bad.to_owned()).unwrap_err();
            assert!(said.sentence().contains("such as info,crossfade_web=debug"), "{bad}");
        }
    }
}
