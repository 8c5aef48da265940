//! What a message says, as HTML and as text.

use askama::Template;
use crossfade_core::Timestamp;

/// Maximum length of a subject.
pub(super) const MAX_SUBJECT: usize = 150;
/// Width of the text.
const WIDTH: usize = 72;

/// A message to one recipient.
#[derive(Clone, Debug)]
pub struct Mail<'a> {
    /// Id of the delivery, which each attempt has: letters, digits and `_`.
    pub id: &'a str,
    /// Email address.
    pub to: &'a str,
    /// Time of the message.
    pub at: Timestamp,
    /// What it says.
    pub letter: &'a Letter,
}

/// What a message says. Never a secret, and a one-time link only if `has_link`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Letter {
    /// Subject.
    pub subject: String,
    /// What happened, in a sentence.
    pub heading: String,
    /// Whether the recipient must act soon.
    pub is_urgent: bool,
    /// Facts, each with its label. A line break separates the items of a list.
    pub facts: Vec<(&'static str, String)>,
    /// Lists, each with its title.
    pub groups: Vec<Group>,
    /// What to do next, in a sentence.
    pub next: String,
    /// Text of the button.
    pub button: &'static str,
    /// Where the button leads.
    pub url: String,
    /// Sentence about the time zone of its times.
    pub times: String,
    /// Why the recipient gets it.
    pub because: String,
    /// Whether the button leads to a one-time link, which opens an account.
    pub has_link: bool,
}

/// A list in a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// What its lines have in common.
    pub title: String,
    /// The lines, the most urgent first.
    pub lines: Vec<Line>,
    /// Number of further lines that are left out.
    pub more: usize,
}

/// A line of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// What it is about.
    pub name: String,
    /// Where that is; empty if it is in no particular place.
    pub place: String,
    /// What there is to say; empty if the title says it all.
    pub said: String,
    /// Where to look.
    pub url: String,
}

#[derive(Template)]
#[template(path = "mail/letter.html")]
struct Html<'a> {
    letter: &'a Letter,
}

#[derive(Template)]
#[template(path = "mail/letter.txt")]
struct Text<'a> {
    letter: &'a Letter,
}

impl Letter {
    /// Returns the letter as HTML and as text.
    pub fn render(&self) -> Result<(String, String), askama::Error> {
        Ok((Html { letter: self }.render()?, Text { letter: self }.render()?))
    }
}

impl Text<'_> {
    /// Breaks a text into lines.
    fn lines(&self, text: &str) -> String {
        wrap(text, "")
    }

    /// Writes a line of a list. Further lines are indented.
    fn line(&self, line: &Line) -> String {
        let place = if line.place.is_empty() { String::new() } else { format!(" in {}", line.place) };
        let said = if line.said.is_empty() { String::new() } else { format!(": {}", line.said) };
        wrap(&format!("- {}{place}{said}", line.name), "  ")
    }

    /// Writes a fact. Further lines are indented.
    fn fact(&self, (label, value): &(&'static str, String)) -> String {
        wrap(&format!("{label}: {value}"), "  ")
    }
}

/// Breaks a text at spaces. A longer word stays whole.
fn wrap(text: &str, indent: &str) -> String {
    let (mut lines, mut width) = (String::new(), 0);
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if width > 0 && width + 1 + length > WIDTH {
            lines.push('\n');
            lines.push_str(indent);
            width = indent.len();
        } else if width > 0 {
            lines.push(' ');
            width += 1;
        }
        lines.push_str(word);
        width += length;
    }
    lines
}

/// Returns a text in one line without control characters, at most so long.
pub(super) fn one_line(text: &str, most: usize) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(most) {
        None => line,
        Some((end, _)) => format!("{}…", line[..end].trim_end()),
    }
}
