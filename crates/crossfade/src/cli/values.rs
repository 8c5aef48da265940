//! How the values of flags are read.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::str::FromStr;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_is_not_nothing() {
        assert_eq!("none".parse(), Ok(OrNone::<i64>(None)));
        assert_eq!("90".parse(), Ok(OrNone(Some(90))));
        assert!("never".parse::<OrNone<i64>>().is_err());
        assert_eq!("None".parse(), Ok(OrNone(Some("None".to_owned()))));
    }
}
