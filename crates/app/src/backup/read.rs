//! Reads a backup row by row. Refuses everything that differs from what was written.

use super::{FORMAT, FORMAT_VERSION, Header, heading, hex, refused, trailer};
use crate::error::Error;
use aws_lc_rs::digest::{Context, SHA256};
use base64::{Engine, engine::general_purpose::STANDARD};
use crossfade_store::{
    Db, Value,
    backup::{Kind, TABLES, Table},
};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

/// Maximum length of a line. The longest row of a database is far shorter.
const LONGEST_LINE: u64 = 16 * 1024 * 1024;

/// A backup being read.
pub(crate) struct Reader {
    path: PathBuf,
    input: BufReader<File>,
    hash: Context,
    pub(crate) header: Header,
    /// Number of tables started so far.
    begun: usize,
    pub(crate) rows: BTreeMap<&'static str, u64>,
    line: Vec<u8>,
    number: u64,
    /// Hash of the complete file, once it has been compared, and the code that proves who wrote it.
    pub(crate) sha256: Option<String>,
    pub(crate) code: String,
}

/// The part of a header that is the same in every version.
#[derive(Deserialize)]
struct AnyHeader {
    format: String,
    format_version: u32,
    #[serde(default)]
    schema_version: i64,
    #[serde(default)]
    program_version: String,
}

/// The member of the last line that is not derived from the lines before.
#[derive(Deserialize)]
struct Trailer {
    code: String,
}

impl Reader {
    /// Opens a backup that this program can restore.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let shown = path.display();
        let file = File::open(path).map_err(|error| {
            refused(format!("Cannot read the backup {shown}: {error}. Nothing was changed."))
        })?;
        let mut reader = Self {
            path: path.to_owned(),
            input: BufReader::new(file),
            hash: Context::new(&SHA256),
            header: Header::none(),
            begun: 0,
            rows: BTreeMap::new(),
            line: Vec::new(),
            number: 0,
            sha256: None,
            code: String::new(),
        };
        reader.read_line()?;
        let any = serde_json::from_slice::<AnyHeader>(&reader.line).ok().filter(|it| it.format == FORMAT);
        let any = any.ok_or_else(|| {
            refused(format!(
                "{shown} is not a Crossfade backup, or its header was modified. Nothing was changed. Specify \
                a file written by crossfade backup."
            ))
        })?;
        let written_by = format!("The backup {shown} was written by Crossfade {}", any.program_version);
        if any.format_version > FORMAT_VERSION {
            return Err(refused(format!(
                "{written_by} in a newer format ({}), but this version reads format {FORMAT_VERSION}. \
                Nothing was changed. Restore it with that version or a later one.",
                any.format_version
            )));
        }
        if any.format_version < FORMAT_VERSION {
            return Err(refused(format!(
                "{written_by} in an older format ({}), which contains no proof that it was not changed. Nothing was \
                changed. Restore it with version {}, then start crossfade serve of this version.",
                any.format_version, any.program_version
            )));
        }
        let ours = Db::program_schema();
        if any.schema_version > ours {
            return Err(refused(format!(
                "{written_by} with a newer schema ({}), but this version requires schema {ours}. Nothing was \
                changed. Restore it with that version or a later one.",
                any.schema_version
            )));
        }
        if any.schema_version < ours {
            return Err(refused(format!(
                "{written_by} with an older schema ({}), but this version requires schema {ours}. Nothing \
                was changed. Restore it with version {}, then start crossfade serve of this version, which \
                migrates the data.",
                any.schema_version, any.program_version
            )));
        }
        reader.header = serde_json::from_slice(&reader.line).map_err(|_| reader.damaged())?;
        reader.hash.update(&reader.line);
        Ok(reader)
    }

    /// Returns the next row and its table; `None` after the last one, when the complete file has been verified.
    pub(crate) fn next(&mut self) -> Result<Option<(&'static Table, Vec<Value>)>, Error> {
        loop {
            self.read_line()?;
            let table = self.begun.checked_sub(1).and_then(|at| TABLES.get(at));
            if let (Some(table), Some(b'[')) = (table, self.line.first()) {
                let row = row(table, &self.line).ok_or_else(|| self.damaged())?;
                self.hash.update(&self.line);
                *self.rows.entry(table.name).or_default() += 1;
                return Ok(Some((table, row)));
            }
            let Some(next) = TABLES.get(self.begun) else { break };
            if self.line != line(&heading(next)) {
                return Err(self.damaged());
            }
            self.hash.update(&self.line);
            self.rows.insert(next.name, 0);
            self.begun += 1;
        }
        let sha256 = hex(self.hash.clone());
        let code = serde_json::from_slice::<Trailer>(&self.line).map_err(|_| self.damaged())?.code;
        if self.line != line(&trailer(&self.rows, &sha256, &code)) {
            return Err(self.damaged());
        }
        self.code = code;
        let at_end = self.input.fill_buf().map(<[u8]>::is_empty);
        if !at_end.map_err(|error| self.unreadable(&error))? {
            return Err(self.damaged());
        }
        self.sha256 = Some(sha256);
        Ok(None)
    }

    fn read_line(&mut self) -> Result<(), Error> {
        self.line.clear();
        self.number += 1;
        let mut limited = (&mut self.input).take(LONGEST_LINE);
        let read = limited.read_until(b'\n', &mut self.line);
        read.map_err(|error| self.unreadable(&error))?;
        if self.line.last() == Some(&b'\n') {
            return Ok(());
        }
        match self.number {
            // The beginning of some other file.
            1 => Ok(()),
            _ if self.line.len() as u64 >= LONGEST_LINE => Err(self.damaged()),
            _ => Err(refused(format!(
                "The backup {} is incomplete: it ends after line {}. Nothing was changed. Use another \
                backup.",
                self.path.display(),
                self.number - 1
            ))),
        }
    }

    fn damaged(&self) -> Error {
        refused(format!(
            "The backup {} was modified after it was written (line {}). Nothing was changed. Use another \
            backup.",
            self.path.display(),
            self.number
        ))
    }

    fn unreadable(&self, error: &std::io::Error) -> Error {
        refused(format!("Cannot read the backup {}: {error}. Nothing was changed.", self.path.display()))
    }
}

impl Header {
    fn none() -> Self {
        Self {
            format: String::new(),
            format_version: 0,
            schema_version: 0,
            program_version: String::new(),
            created_at: crossfade_core::Timestamp::from_micros(0),
            engine: String::new(),
            data_keys: Vec::new(),
        }
    }
}

fn line(value: &serde_json::Value) -> Vec<u8> {
    format!("{value}\n").into_bytes()
}

fn row(table: &Table, line: &[u8]) -> Option<Vec<Value>> {
    let values: Vec<serde_json::Value> = serde_json::from_slice(line).ok()?;
    if values.len() != table.kept().count() {
        return None;
    }
    let value = |((_, kind), value): ((&str, Kind), serde_json::Value)| {
        let null = value.is_null();
        Some(match kind {
            Kind::Int if null => Value::Int(None),
            Kind::Int | Kind::Local => Value::Int(Some(value.as_i64()?)),
            Kind::Text if null => Value::Text(None),
            Kind::Text => Value::Text(Some(value.as_str()?.to_owned())),
            Kind::Blob | Kind::Withheld if null => Value::Blob(None),
            Kind::Blob | Kind::Withheld => Value::Blob(Some(STANDARD.decode(value.as_str()?).ok()?)),
        })
    };
    table.kept().zip(values).map(value).collect()
}
