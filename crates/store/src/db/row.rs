//! Arguments and rows of statements.

use super::StoreError;
use crossfade_core::Timestamp;
use sqlx::{Column, Postgres, Row as _, Sqlite, postgres::PgRow, sqlite::SqliteRow};
use std::borrow::Cow;

/// A value to bind. Numbers, booleans and times are all integers in the database.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// A number, a boolean, or a time.
    Int(Option<i64>),
    /// A text.
    Text(Option<String>),
    /// Bytes.
    Blob(Option<Vec<u8>>),
}

impl Value {
    /// Returns NULL of the same type.
    pub(crate) fn null(&self) -> Self {
        match self {
            Self::Int(_) => Self::Int(None),
            Self::Text(_) => Self::Text(None),
            Self::Blob(_) => Self::Blob(None),
        }
    }
}

macro_rules! values {
    ($($type:ty => $variant:ident($value:ident) $convert:expr;)+) => { $(
        impl From<$type> for Value {
            fn from($value: $type) -> Self { Self::$variant(Some($convert)) }
        }
        impl From<Option<$type>> for Value {
            fn from(value: Option<$type>) -> Self { Self::$variant(value.map(|$value| $convert)) }
        }
    )+ };
}

values! {
    i64 => Int(value) value;
    bool => Int(value) i64::from(value);
    Timestamp => Int(value) value.as_micros();
    &str => Text(value) value.to_owned();
    String => Text(value) value;
    Vec<u8> => Blob(value) value;
    &[u8] => Blob(value) value.to_vec();
}

pub(super) fn bind_sqlite(
    sql: impl IntoSql,
    args: Vec<Value>,
) -> sqlx::query::Query<'static, Sqlite, sqlx::sqlite::SqliteArguments> {
    args.into_iter().fold(sqlx::query(sql.into_sql()), |query, arg| match arg {
        Value::Int(value) => query.bind(value),
        Value::Text(value) => query.bind(value),
        Value::Blob(value) => query.bind(value),
    })
}

pub(super) fn bind_postgres(
    sql: impl IntoSql,
    args: Vec<Value>,
) -> sqlx::query::Query<'static, Postgres, sqlx::postgres::PgArguments> {
    args.into_iter().fold(sqlx::query(sql.into_sql()), |query, arg| match arg {
        Value::Int(value) => query.bind(value),
        Value::Text(value) => query.bind(value),
        Value::Blob(value) => query.bind(value),
    })
}

pub(super) enum AnyRow {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// A row. Columns are read by name. An unexpected NULL or a wrong type means a corrupt row.
pub(crate) struct Row {
    pub(super) table: &'static str,
    pub(super) row: AnyRow,
}

impl Row {
    pub(crate) fn opt_int(&self, column: &str) -> Result<Option<i64>, StoreError> {
        match &self.row {
            AnyRow::Sqlite(row) => row.try_get(column),
            AnyRow::Postgres(row) => row.try_get(column),
        }
        .map_err(|_| self.corrupt(column))
    }

    pub(crate) fn opt_text(&self, column: &str) -> Result<Option<String>, StoreError> {
        match &self.row {
            AnyRow::Sqlite(row) => row.try_get(column),
            AnyRow::Postgres(row) => row.try_get(column),
        }
        .map_err(|_| self.corrupt(column))
    }

    pub(crate) fn opt_blob(&self, column: &str) -> Result<Option<Vec<u8>>, StoreError> {
        match &self.row {
            AnyRow::Sqlite(row) => row.try_get(column),
            AnyRow::Postgres(row) => row.try_get(column),
        }
        .map_err(|_| self.corrupt(column))
    }

    pub(crate) fn int(&self, column: &str) -> Result<i64, StoreError> {
        self.opt_int(column)?.ok_or_else(|| self.corrupt(column))
    }

    pub(crate) fn flag(&self, column: &str) -> Result<bool, StoreError> {
        Ok(self.int(column)? != 0)
    }

    pub(crate) fn text(&self, column: &str) -> Result<String, StoreError> {
        self.opt_text(column)?.ok_or_else(|| self.corrupt(column))
    }

    pub(crate) fn blob(&self, column: &str) -> Result<Vec<u8>, StoreError> {
        self.opt_blob(column)?.ok_or_else(|| self.corrupt(column))
    }

    pub(crate) fn time(&self, column: &str) -> Result<Timestamp, StoreError> {
        self.int(column).map(Timestamp::from_micros)
    }

    pub(crate) fn opt_time(&self, column: &str) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.opt_int(column)?.map(Timestamp::from_micros))
    }

    /// Reads and parses a text column. A value that `parse` rejects is a corrupt row.
    pub(crate) fn parsed<T>(
        &self,
        column: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, StoreError> {
        parse(&self.text(column)?).ok_or_else(|| self.corrupt(column))
    }

    /// Reads a number column into its type.
    pub(crate) fn parsed_int<T>(
        &self,
        column: &str,
        parse: impl FnOnce(i64) -> Option<T>,
    ) -> Result<T, StoreError> {
        parse(self.int(column)?).ok_or_else(|| self.corrupt(column))
    }

    /// Reads and parses a nullable text column. A value that `parse` rejects is a corrupt row.
    pub(crate) fn opt_parsed<T>(
        &self,
        column: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, StoreError> {
        self.opt_text(column)?.map(|text| parse(&text).ok_or_else(|| self.corrupt(column))).transpose()
    }

    pub(crate) fn corrupt(&self, column: &str) -> StoreError {
        let first = match &self.row {
            AnyRow::Sqlite(row) => row.columns().first().map(|first| first.name()),
            AnyRow::Postgres(row) => row.columns().first().map(|first| first.name()),
        };
        let first = first.unwrap_or_default();
        let text = || match &self.row {
            AnyRow::Sqlite(row) => row.try_get(first),
            AnyRow::Postgres(row) => row.try_get(first),
        };
        let number = || match &self.row {
            AnyRow::Sqlite(row) => row.try_get::<i64, _>(first),
            AnyRow::Postgres(row) => row.try_get::<i64, _>(first),
        };
        let row = text().or_else(|_| number().map(|number| number.to_string()));
        StoreError::Corrupt { table: self.table, column: column.to_owned(), row: row.unwrap_or_default() }
    }
}

pub(super) trait IntoSql {
    fn into_sql(self) -> sqlx::SqlStr;
}

impl IntoSql for &'static str {
    fn into_sql(self) -> sqlx::SqlStr {
        sqlx::SqlSafeStr::into_sql_str(self)
    }
}

impl IntoSql for Cow<'static, str> {
    /// Contains only a statement's text and numbers, never user input.
    fn into_sql(self) -> sqlx::SqlStr {
        sqlx::SqlSafeStr::into_sql_str(sqlx::AssertSqlSafe(self.into_owned()))
    }
}
