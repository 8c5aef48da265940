//! Log levels, for everything and for individual parts.

use crate::failure::Failure;
use tracing_subscriber::filter::Targets;

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
    directives.parse().map_err(|_| Failure::usage(format!("log is not a valid filter: {directives}.")))
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
    fn a_log_that_would_say_nothing_is_refused_with_an_example() {
        for bad in
            ["nonsense=", "inof", "=info", "info,", ",", "crossfade_web", "sqlx=loud", "a=b=c", "info;debug"]
        {
            let said = checked(bad.to_owned()).unwrap_err();
            assert!(said.sentence().contains("such as info,crossfade_web=debug"), "{bad}");
        }
    }
}
