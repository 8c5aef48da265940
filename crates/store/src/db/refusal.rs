//! Failures that are refusals of a statement's data, which every retry would get again.

use super::{StoreError, Value};

impl StoreError {
    /// Whether the database refused the data of a statement, and would refuse it again; `false` for outages.
    pub fn is_refusal_of_data(&self) -> bool {
        match self {
            Self::Duplicate | Self::Unstorable => true,
            Self::Database(sqlx::Error::Database(error)) => {
                error.code().is_some_and(|code| refuses_data(&code))
            }
            _ => false,
        }
    }
}

/// Whether an error code means refused data. PostgreSQL's SQLSTATE has five characters: class 22 is data, 23 integrity.
/// SQLite has a number whose low byte is the kind: 18 is too big, 19 a constraint, 20 a mismatch.
fn refuses_data(code: &str) -> bool {
    match code.parse::<u32>() {
        _ if code.len() == 5 => code.starts_with("22") || code.starts_with("23"),
        Ok(number) => matches!(number & 0xff, 18..=20),
        Err(_) => false,
    }
}

/// Whether all texts can be stored. PostgreSQL cannot store the character U+0000, and SQLite truncates texts there, so
/// neither gets one.
pub(super) fn is_storable(values: &[Value]) -> bool {
    values.iter().all(|value| !matches!(value, Value::Text(Some(text)) if text.contains('\0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_data_is_told_from_an_outage() {
        for code in ["22021", "22P05", "23503", "23514", "787", "2067", "19", "1811", "3091", "18"] {
            assert!(refuses_data(code), "{code}");
        }
        for code in ["57P01", "53100", "08006", "40001", "42P01", "25006", "5", "13", "10", "778", "8", ""] {
            assert!(!refuses_data(code), "{code}");
        }
    }

    #[test]
    fn a_text_with_a_null_character_is_not_storable() {
        assert!(is_storable(&["a".into(), 1.into(), Value::Text(None), vec![0u8].into()]));
        assert!(!is_storable(&["a".into(), "b\0c".into()]));
    }
}
