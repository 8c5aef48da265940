//! Log levels, for everything and for individual parts.

use crate::failure::Failure;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Refuses text that is not a list of levels. The filter itself would treat a mistyped level as the name of a part, and
/// log nothing else.
pub(crate) fn checked(directives: String) -> Result<String, Failure> {
    match directives.split(',').find(|directive| !is_directive(directive.trim())) {
        None => Ok(directives),
        Some(wrong) => Err(Failure::usage(format!(
            "log must be a level ({}), or a list such as info,crossfade_web=debug: {wrong:?} is neither.",
            LEVELS.join(", ")
        ))),
    }
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
            "warn, crossfade_app::worker=trace",
        ] {
            assert!(checked(good.to_owned()).is_ok(), "{good}");
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
