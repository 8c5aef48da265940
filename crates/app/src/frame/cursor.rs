//! Pages of lists: a limit and an opaque cursor that names the last row, so that rows that appear or disappear in
//! between are neither skipped nor repeated. The cursor is sealed, because the last row searched can be one that the
//! reader cannot access.

use crate::{
    error::Error,
    keys::{
        place::SealPlace,
        seal::{SealKey, derived},
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use crossfade_core::{Code, Problem, Timestamp, api::Page};
use crossfade_store::PageStart;
use std::fmt::Display;

/// `?limit=&cursor=` as sent.
#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    /// Maximum number of items, 1 to 200. Defaults to 50.
    pub limit: Option<String>,
    /// Where the page starts.
    pub cursor: Option<String>,
}

const DEFAULT_LIMIT: i64 = 50;
const MOST: i64 = 200;

/// Seals and opens the positions in cursors.
pub(crate) struct Cursors(SealKey);

/// Label that separates this key from other keys derived from the same root.
const LABEL: &[u8] = b"crossfade: cursors of lists";

/// Start of a page, and the cursor of the next one.
pub(crate) struct Start<'a> {
    at: PageStart,
    list: String,
    cursors: &'a Cursors,
}

impl std::ops::Deref for Start<'_> {
    type Target = PageStart;

    fn deref(&self) -> &PageStart {
        &self.at
    }
}

impl Start<'_> {
    /// Returns the cursor for this position.
    pub(crate) fn cursor(&self, place: &(i64, String)) -> Result<String, Error> {
        self.cursors.encode(&self.list, place)
    }
}

impl Cursors {
    /// Creates the seal. `root` is a key that every process of this database has.
    pub(crate) fn new(root: &[u8]) -> Self {
        Self(SealKey::new(*b"cursors1", &derived(root, LABEL)))
    }

    /// Parses limit and cursor. `list` names the list and its order, because a cursor is valid only for the list that
    /// issued it. One row more than requested is fetched, to find out whether there is a next page.
    pub(crate) fn start(&self, list: impl Display, query: &ListQuery) -> Result<Start<'_>, Problem> {
        let list = list.to_string();
        let limit = match &query.limit {
            None => DEFAULT_LIMIT,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=MOST).contains(limit))
                .ok_or_else(|| invalid("limit", &format!("must be a whole number from 1 to {MOST}")))?,
        };
        let after = match &query.cursor {
            None => None,
            Some(text) => Some(self.decode(&list, text).ok_or_else(unknown_cursor)?),
        };
        Ok(Start { at: PageStart { after, limit: limit + 1 }, list, cursors: self })
    }

    fn encode(&self, list: &str, (at, id): &(i64, String)) -> Result<String, Error> {
        Ok(URL_SAFE_NO_PAD.encode(self.0.seal(&SealPlace::Cursor { list }, format!("{at}.{id}").as_bytes())?))
    }

    fn decode(&self, list: &str, cursor: &str) -> Option<(i64, String)> {
        let place = self.0.open(&SealPlace::Cursor { list }, &URL_SAFE_NO_PAD.decode(cursor).ok()?)?;
        let (at, id) = std::str::from_utf8(&place).ok()?.split_once('.')?;
        Some((at.parse().ok()?, id.to_owned()))
    }
}

/// Returns the problem for a cursor that this list did not issue.
pub(crate) fn unknown_cursor() -> Problem {
    invalid("cursor", "must be a next_cursor value returned by this list")
}

/// Returns `invalid_query` at a parameter: "`field` `what`."
pub(crate) fn invalid(field: &str, what: &str) -> Problem {
    Problem::new(Code::InvalidQuery, format!("{field} {what}.")).with_field(field)
}

/// Parses a time in a parameter.
pub(crate) fn time(field: &str, text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    text.map(Timestamp::parse_bound).transpose().map_err(|error| invalid(field, &format!("is {error}")))
}

/// Cuts the rows to a page. `key` is the sort key of a row.
pub(crate) fn page<R, T>(
    start: &Start<'_>,
    mut rows: Vec<R>,
    key: impl Fn(&R) -> (i64, String),
    item: impl FnMut(R) -> T,
) -> Result<Page<T>, Error> {
    let wanted = usize::try_from(start.limit - 1).unwrap_or(0);
    let more = rows.len() > wanted;
    rows.truncate(wanted);
    let last = rows.last().filter(|_| more).map(key);
    let next_cursor = last.map(|place| start.cursor(&place)).transpose()?;
    Ok(Page { items: rows.into_iter().map(item).collect(), next_cursor })
}

/// Number of rows read at a time for a principal who can read only some of them.
const READ_AT_ONCE: i64 = 500;
/// Maximum number of rows searched in the database for one page.
const LOOKED_AT_FOR_A_PAGE: i64 = 100_000;
/// Maximum number of rows read for one page. A page can be short or empty and still have a next one.
const READ_FOR_A_PAGE: i64 = 20_000;

/// A scan that reads until a page is full, skipping rows the principal cannot read. Stops after a fixed number of rows,
/// so that a principal with little access cannot force a scan of the whole table.
pub(crate) struct Scan<'a, R> {
    start: &'a Start<'a>,
    wanted: usize,
    at_once: i64,
    from: Option<(i64, String)>,
    read: i64,
    looked: i64,
    ended: bool,
    kept: Vec<R>,
}

impl<'a, R> Scan<'a, R> {
    /// Creates a scan. `everything`: the principal can read every row.
    pub(crate) fn new(start: &'a Start<'a>, everything: bool) -> Self {
        Self {
            start,
            wanted: usize::try_from(start.limit).unwrap_or(0),
            at_once: if everything { start.limit } else { start.limit.max(READ_AT_ONCE) },
            from: start.after.clone(),
            read: 0,
            looked: 0,
            ended: false,
            kept: Vec::new(),
        }
    }

    /// Returns where to continue reading; `None` if the page is full or nothing is left.
    pub(crate) fn next(&self) -> Option<PageStart> {
        let tired = self.read >= READ_FOR_A_PAGE || self.looked >= LOOKED_AT_FOR_A_PAGE;
        let done = self.ended || self.kept.len() >= self.wanted || tired;
        (!done).then(|| PageStart { after: self.from.clone(), limit: self.at_once })
    }

    /// Records a read; `last` is the sort key of the last row.
    pub(crate) fn read(&mut self, rows: usize, last: Option<(i64, String)>) {
        let rows = i64::try_from(rows).unwrap_or(i64::MAX);
        self.ended = rows < self.at_once;
        self.read = self.read.saturating_add(rows);
        self.from = last.or(self.from.take());
    }

    /// Records a read that reports the number of searched rows, and where to continue.
    pub(crate) fn looked(&mut self, rows: usize, looked: i64, next: Option<(i64, String)>) {
        self.read = self.read.saturating_add(i64::try_from(rows).unwrap_or(i64::MAX));
        self.looked = self.looked.saturating_add(looked);
        self.ended = next.is_none();
        self.from = next.or(self.from.take());
    }

    /// Adds a row to the page.
    pub(crate) fn keep(&mut self, row: R) {
        self.kept.push(row);
    }

    /// Cuts the collected rows to a page. `key` is the sort key of a row.
    pub(crate) fn rows(
        mut self,
        key: impl Fn(&R) -> (i64, String),
    ) -> Result<(Vec<R>, Option<String>), Error> {
        let limit = self.wanted.saturating_sub(1);
        let next = if self.kept.len() > limit {
            self.kept.truncate(limit);
            self.kept.last().map(key)
        } else {
            self.from.filter(|_| !self.ended)
        };
        let cursor = next.map(|place| self.start.cursor(&place)).transpose()?;
        Ok((self.kept, cursor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursors() -> Cursors {
        Cursors::new(&[1; 32])
    }

    #[test]
    fn cursors_survive_the_way_tell_nothing_and_tampered_ones_are_refused() {
        let (cursors, key) = (cursors(), (1_795_525_500_000_000, "cl_0".to_owned()));
        let cursor = cursors.encode("clients", &key).unwrap();
        assert_eq!(cursors.decode("clients", &cursor), Some(key.clone()));
        assert_eq!(cursors.decode("users", &cursor), None, "another list");
        assert_eq!(Cursors::new(&[1; 32]).decode("clients", &cursor), Some(key.clone()), "another process");
        assert_eq!(Cursors::new(&[2; 32]).decode("clients", &cursor), None, "another database");
        let sealed = URL_SAFE_NO_PAD.decode(&cursor).unwrap();
        for shown in [&b"cl_0"[..], b"1795525500000000"] {
            assert!(!sealed.windows(shown.len()).any(|part| part == shown), "{shown:?}");
        }
        let changed = |at: usize| {
            let mut sealed = sealed.clone();
            sealed[at] ^= 1;
            URL_SAFE_NO_PAD.encode(sealed)
        };
        let bad = (0..sealed.len()).map(changed);
        for bad in bad.chain(["", "x", "MS4xLg=", "MS4xLmE"].map(str::to_owned)) {
            let query = ListQuery { cursor: Some(bad.clone()), ..ListQuery::default() };
            assert_eq!(
                cursors.start("clients", &query).err().unwrap().field.as_deref(),
                Some("cursor"),
                "{bad}"
            );
        }
        for bad in ["0", "201", "-1", "1.5", "ten", ""] {
            let query = ListQuery { limit: Some(bad.into()), ..ListQuery::default() };
            assert_eq!(
                cursors.start("clients", &query).err().unwrap().field.as_deref(),
                Some("limit"),
                "{bad}"
            );
        }
    }

    /// Reads, page by page, a list of numbers of which every `nth` is readable.
    fn scanned(rows: i64, nth: i64, limit: i64) -> (Vec<i64>, usize) {
        let cursors = cursors();
        let (mut seen, mut pages, mut cursor) = (Vec::new(), 0, None);
        loop {
            pages += 1;
            let start =
                cursors.start("numbers", &ListQuery { limit: Some(limit.to_string()), cursor }).unwrap();
            let mut scan = Scan::new(&start, nth == 1);
            while let Some(from) = scan.next() {
                let after = from.after.map_or(0, |(at, _)| at);
                let page: Vec<i64> = (after + 1..=rows.min(after + from.limit)).collect();
                scan.read(page.len(), page.last().map(|at| (*at, "x".into())));
                page.into_iter().filter(|row| row % nth == 0).for_each(|row| scan.keep(row));
            }
            let (page, next) = scan.rows(|row| (*row, "x".into())).unwrap();
            assert!(page.len() as i64 <= limit);
            seen.extend(page);
            let Some(next) = next else { return (seen, pages) };
            cursor = Some(next);
        }
    }

    #[test]
    fn what_may_not_be_read_is_left_out_without_a_gap_and_without_reading_everything_at_once() {
        for (rows, nth, limit) in
            [(0, 1, 50), (7, 1, 2), (8, 1, 2), (1000, 3, 50), (1000, 1001, 50), (100_000, 40_000, 10)]
        {
            let (seen, pages) = scanned(rows, nth, limit);
            assert_eq!(
                seen,
                (1..=rows).filter(|row| row % nth == 0).collect::<Vec<_>>(),
                "{rows} {nth} {limit}"
            );
            assert!(pages <= 6 + rows as usize / nth as usize / limit as usize + 1, "{pages}");
        }
    }

    #[test]
    fn a_full_page_has_a_next_and_the_last_has_none() {
        let cursors = cursors();
        let start = cursors.start("numbers", &ListQuery { limit: Some("2".into()), cursor: None }).unwrap();
        let of = |rows: Vec<i64>| page(&start, rows, |n| (*n, "x".into()), |n| n).unwrap();
        let full = of(vec![1, 2, 3]);
        let next = full.next_cursor.and_then(|cursor| cursors.decode("numbers", &cursor));
        assert_eq!((full.items, next), (vec![1, 2], Some((2, "x".into()))));
        assert_eq!(of(vec![1, 2]).next_cursor, None);
        assert_eq!(of(vec![]).next_cursor, None);
    }
}
