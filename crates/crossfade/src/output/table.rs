//! Tables. On a terminal they fit its width; elsewhere they are as wide as needed and nothing is shortened.

use super::{Kind, clean::line, data, note, value};
use crate::failure::Failure;
use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// A column: its heading, and whether its texts can be shortened.
#[derive(Clone, Copy)]
pub(crate) struct Column {
    name: &'static str,
    text: bool,
}

/// Returns a column of ids, times, states or numbers, which are useless if shortened.
pub(crate) const fn fixed(name: &'static str) -> Column {
    Column { name, text: false }
}

/// Returns a column of names and other text for people.
pub(crate) const fn text(name: &'static str) -> Column {
    Column { name, text: true }
}

/// Minimum width of a shortened text.
const SHORTEST: usize = 8;
/// Space on both sides of a cell.
const PADDING: usize = 2;
const CUT: char = '…';

/// Writes a table.
pub(crate) fn table(columns: &[Column], rows: Vec<Vec<String>>) -> Result<(), Failure> {
    if rows.is_empty() {
        note("Nothing to show.");
        return Ok(());
    }
    data(&for_stdout(columns, rows))
}

/// Writes a table of values that exist nowhere else.
pub(crate) fn table_of_values(
    columns: &[Column],
    rows: Vec<Vec<String>>,
    kind: &Kind,
) -> Result<(), Failure> {
    value(&for_stdout(columns, rows), kind.lost)
}

fn for_stdout(columns: &[Column], rows: Vec<Vec<String>>) -> String {
    // `Some` only where stdout is a terminal.
    let terminal = Table::new().width().map(usize::from);
    format!("{}\n", drawn(columns, rows, terminal))
}

fn drawn(columns: &[Column], mut rows: Vec<Vec<String>>, terminal: Option<usize>) -> String {
    for cell in rows.iter_mut().flatten() {
        *cell = line(cell);
    }
    if let Some(width) = terminal
        && !fit(columns, &mut rows, width)
    {
        return blocks(columns, rows, width);
    }
    let mut table = Table::new();
    // Never wrapped: an id or a time that is broken in the middle cannot be copied.
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|column| column.name.to_uppercase()).collect::<Vec<_>>());
    for row in rows {
        table.add_row(row);
    }
    table.trim_fmt()
}

/// Shortens the widest texts, one character at a time, until the table fits; `false`, without a change, if it cannot
/// fit.
fn fit(columns: &[Column], rows: &mut [Vec<String>], terminal: usize) -> bool {
    let width = |(at, column): (usize, &Column)| {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.width());
        cells.chain([column.name.width()]).max().unwrap_or(0)
    };
    let mut widths: Vec<usize> = columns.iter().enumerate().map(width).collect();
    while widths.iter().map(|width| width + PADDING).sum::<usize>() > terminal {
        let least = |at: usize| columns.get(at).map_or(0, |column| column.name.width()).max(SHORTEST);
        let texts =
            widths.iter_mut().enumerate().filter(|(at, _)| columns.get(*at).is_some_and(|it| it.text));
        let widest = texts.filter(|(at, width)| **width > least(*at)).max_by_key(|(_, width)| **width);
        let Some((_, widest)) = widest else { return false };
        *widest -= 1;
    }
    for row in rows {
        for ((cell, column), width) in row.iter_mut().zip(columns).zip(&widths) {
            if column.text && cell.width() > *width {
                *cell = shortened(cell, *width);
            }
        }
    }
    true
}

/// Writes one line per cell, for a terminal that is too narrow for the ids, times and states side by side.
fn blocks(columns: &[Column], rows: Vec<Vec<String>>, terminal: usize) -> String {
    let label = columns.iter().map(|column| column.name.width()).max().unwrap_or(0);
    let room = terminal.saturating_sub(label + PADDING).max(SHORTEST);
    let cell_line = |(column, cell): (&Column, String)| {
        let cell = if column.text && cell.width() > room { shortened(&cell, room) } else { cell };
        format!("{:label$}  {cell}", column.name.to_uppercase()).trim_end().to_owned()
    };
    let block = |row: Vec<String>| columns.iter().zip(row).map(cell_line).collect::<Vec<_>>().join("\n");
    rows.into_iter().map(block).collect::<Vec<_>>().join("\n\n")
}

/// Returns the start of a text within this width, with a mark at its end.
fn shortened(cell: &str, width: usize) -> String {
    let (mut text, mut taken) = (String::new(), 1);
    for letter in cell.chars() {
        taken += letter.width().unwrap_or(0);
        if taken > width {
            break;
        }
        text.push(letter);
    }
    let end = text.trim_end().len();
    text.truncate(end);
    text.push(CUT);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "cl_0123456789012345678901";
    const COLUMNS: [Column; 4] = [fixed("id"), text("name"), text("owners"), fixed("state")];

    fn rows(name: &str, owners: &str) -> Vec<Vec<String>> {
        vec![
            vec![ID.into(), name.into(), owners.into(), "enabled".into()],
            vec![ID.into(), "B".into(), String::new(), "disabled".into()],
        ]
    }

    fn widest(drawn: &str) -> usize {
        drawn.lines().map(|line| line.width()).max().unwrap()
    }

    #[test]
    fn a_table_fits_the_terminal_and_keeps_ids_and_states() {
        let long = rows(&"Billing ".repeat(12), &"somebody@example.com, ".repeat(9));
        for terminal in [64, 80, 100, 140, 200] {
            let drawn = drawn(&COLUMNS, long.clone(), Some(terminal));
            assert!(widest(&drawn) <= terminal, "{terminal}:\n{drawn}");
            assert!(widest(&drawn) + 4 >= terminal, "no more than needed, {terminal}:\n{drawn}");
            assert_eq!(drawn.lines().count(), 3, "one line a row:\n{drawn}");
            assert_eq!(drawn.matches(ID).count(), 2, "{drawn}");
            assert!(
                drawn.contains("enabled") && drawn.contains("disabled") && drawn.contains('…'),
                "{drawn}"
            );
        }
    }

    #[test]
    fn the_widest_text_is_shortened_first() {
        let drawn = drawn(&COLUMNS, rows("Billing API", &"somebody@example.com, ".repeat(9)), Some(80));
        assert!(drawn.contains("Billing API"), "{drawn}");
    }

    #[test]
    fn what_fits_and_what_goes_elsewhere_is_whole() {
        let name = "Billing ".repeat(40) + "end";
        assert!(drawn(&COLUMNS, rows(&name, ""), None).contains(&name));
        assert!(drawn(&COLUMNS, rows("Billing API", "a@example.com"), Some(80)).contains("a@example.com"));
    }

    #[test]
    fn a_terminal_that_is_too_narrow_gets_a_line_for_each_cell() {
        let drawn = drawn(&COLUMNS, rows(&"x".repeat(50), "y"), Some(40));
        let first = format!("ID      {ID}\nNAME    {}…\nOWNERS  y\nSTATE   enabled\n\n", "x".repeat(31));
        assert!(drawn.starts_with(&first) && widest(&drawn) == 40, "{drawn}");
    }

    #[test]
    fn wide_letters_count_as_wide() {
        let drawn = drawn(&COLUMNS, rows(&"請求".repeat(30), ""), Some(80));
        assert!(widest(&drawn) <= 80, "{drawn}");
        assert!(drawn.contains("請求"), "{drawn}");
        assert_eq!((shortened("請求書", 5), shortened("請求書", 4)), ("請求…".into(), "請…".into()));
    }

    #[test]
    fn what_a_stranger_sent_does_not_steer_the_terminal() {
        let drawn = drawn(&COLUMNS, rows("\u{1b}[2Jgone\nnext", ""), None);
        assert!(!drawn.contains('\u{1b}') && drawn.lines().count() == 3, "{drawn:?}");
    }
}
