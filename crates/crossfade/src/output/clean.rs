//! Cleaning untrusted text, for example from a server, a backup or a database, so that it cannot control a terminal.

use std::borrow::Cow;

/// Replacement for a removed character.
const REPLACED: char = '\u{fffd}';

/// Whether a character controls a terminal or reorders its line.
fn steers(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns a text of several lines without characters that control a terminal.
pub(crate) fn lines(text: &str) -> Cow<'_, str> {
    let is_kept = |letter: char| letter == '\n' || !steers(letter);
    match text.chars().all(is_kept) {
        true => Cow::Borrowed(text),
        false => text.chars().map(|letter| if is_kept(letter) { letter } else { replaced(letter) }).collect(),
    }
}

/// Returns a text on one line without characters that control a terminal.
pub(crate) fn line(text: &str) -> String {
    text.chars().map(|letter| if steers(letter) { replaced(letter) } else { letter }).collect()
}

/// Returns equivalent JSON in which characters that control a terminal are escaped.
pub(super) fn json(text: &str) -> Cow<'_, str> {
    // Control characters below U+0020 can only be white space between values: JSON itself escapes the others.
    let is_kept = |letter: char| letter < ' ' || !steers(letter);
    match text.chars().all(is_kept) {
        true => Cow::Borrowed(text),
        false => {
            let escaped = |letter: char| match is_kept(letter) {
                true => letter.to_string(),
                false => format!("\\u{:04x}", u32::from(letter)),
            };
            text.chars().map(escaped).collect()
        }
    }
}

fn replaced(letter: char) -> char {
    if matches!(letter, '\n' | '\r' | '\t') { ' ' } else { REPLACED }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clears the screen, in seven and in eight bits, sets the title, and reorders.
    const STEERING: &str = "a\u{1b}[2J\u{9b}2J\u{1b}]0;x\u{7}\u{202e}b\u{7f}\r\tc\n";

    #[test]
    fn nothing_that_steers_a_terminal_is_left_in_a_text() {
        assert_eq!(lines(STEERING), "a\u{fffd}[2J\u{fffd}2J\u{fffd}]0;x\u{fffd}\u{fffd}b\u{fffd}  c\n");
        assert_eq!(line(STEERING), "a\u{fffd}[2J\u{fffd}2J\u{fffd}]0;x\u{fffd}\u{fffd}b\u{fffd}  c ");
        for harmless in ["Élodie 請求書 — 24 h\n", "", "…\n\n"] {
            assert_eq!(lines(harmless), harmless);
        }
    }

    #[test]
    fn escaped_json_means_the_same() {
        let value = serde_json::json!({"name": STEERING});
        let text = serde_json::to_string_pretty(&value).unwrap();
        let escaped = json(&text);
        assert!(!escaped.chars().any(|letter| letter != '\n' && steers(letter)), "{escaped:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), value);
    }
}
