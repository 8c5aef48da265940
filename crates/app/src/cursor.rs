//! Lists: a limit and an opaque cursor that names the last row seen, so that rows which come and go in
//! between are neither skipped nor repeated.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use crossfade_core::{Code, Problem, Timestamp, api::Page};
use crossfade_store::PageStart;

/// `?limit=&cursor=` as they were sent.
#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    /// How many items, 1 to 200; 50 when absent.
    pub limit: Option<String>,
    /// Where the page starts.
    pub cursor: Option<String>,
}

const DEFAULT_LIMIT: i64 = 50;
const MOST: i64 = 200;

impl ListQuery {
    /// Reads limit and cursor. One row more than asked for is fetched, to know whether there is a next page.
    pub(crate) fn start(&self) -> Result<PageStart, Problem> {
        let limit = match &self.limit {
            None => DEFAULT_LIMIT,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=MOST).contains(limit))
                .ok_or_else(|| invalid("limit", &format!("must be a whole number from 1 to {MOST}")))?,
        };
        let after = match &self.cursor {
            None => None,
            Some(text) => {
                Some(decode(text).ok_or_else(|| invalid("cursor", "is not one that this server gave out"))?)
            }
        };
        Ok(PageStart { after, limit: limit + 1 })
    }
}

/// `invalid_query`, at a parameter: "`field` `what`."
pub(crate) fn invalid(field: &str, what: &str) -> Problem {
    Problem::new(Code::InvalidQuery, format!("{field} {what}.")).with_field(field)
}

/// A time in a parameter.
pub(crate) fn time(field: &str, text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    text.map(Timestamp::parse_bound).transpose().map_err(|error| invalid(field, &format!("is {error}")))
}

/// Cuts the rows to a page. `key` is the sort key of a row.
pub(crate) fn page<R, T>(
    start: &PageStart,
    mut rows: Vec<R>,
    key: impl Fn(&R) -> (i64, String),
    item: impl FnMut(R) -> T,
) -> Page<T> {
    let wanted = usize::try_from(start.limit - 1).unwrap_or(0);
    let more = rows.len() > wanted;
    rows.truncate(wanted);
    let next_cursor = if more { rows.last().map(|row| encode(&key(row))) } else { None };
    Page { items: rows.into_iter().map(item).collect(), next_cursor }
}

pub(crate) fn encode((at, id): &(i64, String)) -> String {
    URL_SAFE_NO_PAD.encode(format!("1.{at}.{id}"))
}

fn decode(cursor: &str) -> Option<(i64, String)> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let (at, id) = text.strip_prefix("1.")?.split_once('.')?;
    let known =
        id.len() <= 160 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_~.:".contains(&byte));
    known.then_some((at.parse().ok()?, id.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_survive_the_way_and_tampered_ones_are_refused() {
        let key = (1_795_525_500_000_000, "cl_0".to_owned());
        assert_eq!(decode(&encode(&key)), Some(key));
        for bad in [
            "",
            "x",
            "MS4xLg=",
            &URL_SAFE_NO_PAD.encode("2.1.a"),
            &URL_SAFE_NO_PAD.encode("1.a.b"),
            &URL_SAFE_NO_PAD.encode("1.1.'--"),
        ] {
            let query = ListQuery { cursor: Some(bad.to_string()), ..ListQuery::default() };
            assert_eq!(query.start().unwrap_err().field.as_deref(), Some("cursor"), "{bad}");
        }
        for bad in ["0", "201", "-1", "1.5", "ten", ""] {
            let query = ListQuery { limit: Some(bad.into()), ..ListQuery::default() };
            assert_eq!(query.start().unwrap_err().field.as_deref(), Some("limit"), "{bad}");
        }
    }

    #[test]
    fn a_full_page_has_a_next_and_the_last_has_none() {
        let start = ListQuery { limit: Some("2".into()), cursor: None }.start().unwrap();
        let of = |rows: Vec<i64>| page(&start, rows, |n| (*n, "x".into()), |n| n);
        let full = of(vec![1, 2, 3]);
        assert_eq!((full.items, full.next_cursor), (vec![1, 2], Some(encode(&(2, "x".into())))));
        assert_eq!(of(vec![1, 2]).next_cursor, None);
        assert_eq!(of(vec![]).next_cursor, None);
    }
}
