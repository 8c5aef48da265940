//! How the values of flags are read.

use clap::builder::{PathBufValueParser, PossibleValuesParser, TypedValueParser};
use crossfade_core::roles::Permission;
use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

/// A value, or `none`.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct OrNone<T>(pub(crate) Option<T>);

impl<T: FromStr> FromStr for OrNone<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        match text {
            "none" => Ok(Self(None)),
            text => T::from_str(text).map(Some).map(Self),
        }
    }
}

/// One of the words that a type of the API has.
pub(super) fn one_of<T: Copy + Send + Sync + 'static, const N: usize>(
    all: [T; N],
    word: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(all.map(word))
        .try_map(move |text| all.into_iter().find(|it| word(*it) == text).ok_or("not one of the words"))
}

/// A new file for a value. `-` is a name that people give to stdout.
pub(super) fn new_file() -> impl TypedValueParser<Value = PathBuf> {
    named_file("- is not a file. Set --show to print the value on stdout, or name a file")
}

/// A new file for a backup, which is whole or not there. A stream cannot be taken back.
pub(super) fn backup_file() -> impl TypedValueParser<Value = PathBuf> {
    named_file("- is not a file. A backup cannot be written to stdout; name a file")
}

/// A backup, which is read twice: first to check it.
pub(super) fn read_file() -> impl TypedValueParser<Value = PathBuf> {
    named_file("- is not a file. A backup cannot be read from stdin; name a file")
}

fn named_file(refusal: &'static str) -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(move |path| match path == Path::new("-") {
        true => Err(refusal),
        false => Ok(path),
    })
}

/// Reads the slug of one environment, where a list means nothing.
pub(super) fn one_environment(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("must be the slug of an environment".to_owned()),
        text if text.contains([',', ' ']) => {
            Err("must be one environment; run the command once for each environment".to_owned())
        }
        text => Ok(text.to_owned()),
    }
}

/// Reads an item of a list that commas separate.
pub(super) fn item(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("must not contain an empty item".to_owned()),
        text => Ok(text.to_owned()),
    }
}

/// One of the permissions.
pub(super) fn permission() -> impl TypedValueParser<Value = String> {
    PossibleValuesParser::new(Permission::ALL.iter().map(|permission| permission.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::refused;

    #[test]
    fn none_is_not_nothing() {
        assert_eq!("none".parse(), Ok(OrNone::<i64>(None)));
        assert_eq!("90".parse(), Ok(OrNone(Some(90))));
        assert!("never".parse::<OrNone<i64>>().is_err());
        assert_eq!("None".parse(), Ok(OrNone(Some("None".to_owned()))));
    }

    #[test]
    fn a_dash_is_not_a_file() {
        for command in [
            "secret rotate X --env e --transition 0 --output",
            "secret reveal X --env e --output",
            "client create X --property P --env e --output",
            "user create --email a@example.com --output",
            "user link a@example.com --output",
            "grant create a@example.com --role viewer --output",
            "backup --output",
            "restore --from",
            "token create --user u --name n --output",
            "owner recover --email a@example.com --output",
        ] {
            assert_eq!(refused(&format!("{command} -")), 2, "{command}");
            assert_eq!(refused(&format!("{command} ./-")), 0, "{command}");
        }
    }

    #[test]
    fn where_one_environment_is_meant_a_list_is_refused() {
        assert_eq!(one_environment(" staging "), Ok("staging".to_owned()));
        for list in ["staging,production", "staging production", ",", "", " "] {
            assert!(one_environment(list).is_err(), "{list:?}");
        }
    }

    #[test]
    fn the_items_of_a_list_are_trimmed_and_none_is_empty() {
        assert_eq!(item(" staging"), Ok("staging".to_owned()));
        assert!(item(" ").is_err());
    }
}
