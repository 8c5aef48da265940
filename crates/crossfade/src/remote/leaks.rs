//! `crossfade secret identify`: finds client secrets in stdin and asks the server what they are. Only what has the form of a
//! client secret is sent, not the text around it.

use super::http::Api;
use crate::{
    cli::Remote,
    failure::Failure,
    output::{self, Column, fixed, table, text, time},
};
use crossfade_core::{
    api::{FoundSecret, IdentifiedSecret, IdentifiedSecrets, IdentifySecrets},
    rotation::SecretState,
    secret::{Found, OVERLAP, find},
};
use reqwest::Method;
use std::{
    collections::{BTreeMap, HashMap},
    io::{IsTerminal, Read},
};

/// Number of bytes read at once.
const PIECE: usize = 64 * 1024;
/// Number of values in one request, within the limit of the API for a body.
const VALUES_AT_ONCE: usize = 800;
const _: () = assert!(VALUES_AT_ONCE * 66 + 100 < 64 * 1024);
/// Maximum number of places in the input that have the form of a client secret.
const MAX_PLACES: usize = 100_000;

/// A text that is read piece by piece. Neighbouring pieces overlap, so that nothing at a border is missed.
#[derive(Default)]
struct Finder {
    piece: Vec<u8>,
    /// Position of the piece in the text.
    from: usize,
    /// Number of line breaks before the piece.
    lines: u64,
    /// Places by their position, each with its line.
    places: BTreeMap<usize, (u64, Found)>,
}

impl Finder {
    /// Looks at the next bytes of the text.
    fn take(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.piece.extend_from_slice(bytes);
        let line_breaks = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        for found in find(&self.piece) {
            let line = self.lines + line_breaks(self.piece.get(..found.offset).unwrap_or_default()) + 1;
            self.places.entry(self.from + found.offset).or_insert((line, found));
        }
        if self.places.len() > MAX_PLACES {
            let text = format!(
                "The input contains more than {MAX_PLACES} client secrets. Nothing was sent. Divide the input."
            );
            return Err(Failure::usage(text));
        }
        let done = self.piece.len().saturating_sub(OVERLAP);
        self.lines += line_breaks(self.piece.get(..done).unwrap_or_default());
        self.from += done;
        self.piece.drain(..done);
        Ok(())
    }
}

/// Runs the command.
pub(super) async fn identify(remote: &Remote, exit_code: bool) -> Result<(), Failure> {
    let api = Api::new(remote)?;
    let places = read(&mut std::io::stdin().lock())?;
    let mut values: Vec<&str> = places.values().map(|(_, found)| found.value.reveal()).collect();
    values.sort_unstable();
    values.dedup();
    let (mut known, mut older) = (HashMap::new(), false);
    // At least once, so that the command fails without a token that the server accepts.
    for values in values.chunks(VALUES_AT_ONCE).chain(values.is_empty().then_some(&[][..])) {
        let body = IdentifySecrets { text: Some(values.join("\n")) };
        let reply: IdentifiedSecrets = api.send(Method::POST, "/leaks", &body).await?;
        if reply.found.len() != values.len() {
            return Err(Failure::failed(
                "The server found other secrets than this command. Use the same version.",
            ));
        }
        older |= reply.older_secrets_not_searched;
        known.extend(values.iter().copied().zip(reply.found.into_iter().map(|it| it.identified)));
    }
    let found = places.iter().map(|(offset, (line, found))| FoundSecret {
        offset: *offset as u64,
        line: *line,
        prefix: found.prefix().to_owned(),
        encoded: found.is_encoded,
        identified: known.get(found.value.reveal()).cloned().flatten(),
    });
    let found = IdentifiedSecrets { found: found.collect(), older_secrets_not_searched: older };
    if remote.json {
        output::json(&found)?
    } else {
        shown(&found)?
    }
    match verdict(&found).filter(|_| exit_code) {
        Some(sentence) => Err(Failure::found(sentence)),
        None => Ok(()),
    }
}

/// Returns why a text is not clean; `None` if it contains no secret that is valid, or that may be.
fn verdict(reply: &IdentifiedSecrets) -> Option<&'static str> {
    if reply.found.iter().filter_map(|it| it.identified.as_ref()).any(is_valid) {
        return Some("The input contains a valid secret.");
    }
    let may_be = reply.older_secrets_not_searched && reply.found.iter().any(|it| it.identified.is_none());
    may_be.then_some("The input contains a secret that may be valid: older secrets cannot be recognised yet.")
}

fn is_valid(it: &IdentifiedSecret) -> bool {
    matches!(it.secret.state, SecretState::Current | SecretState::Retiring) && it.client_deleted_at.is_none()
}

fn read(input: &mut (impl Read + IsTerminal)) -> Result<BTreeMap<usize, (u64, Found)>, Failure> {
    if input.is_terminal() {
        output::note("Paste the text, then press Ctrl+D on an empty line.");
    }
    let (mut finder, mut buffer) = (Finder::default(), vec![0; PIECE]);
    loop {
        let unreadable = |error| Failure::failed(format!("Cannot read stdin: {error}. Nothing was sent."));
        match input.read(&mut buffer).map_err(unreadable)? {
            0 => return Ok(finder.places),
            read => finder.take(buffer.get(..read).unwrap_or_default())?,
        }
    }
}

const COLUMNS: [Column; 7] = [
    fixed("line"),
    fixed("state"),
    text("client"),
    text("environment"),
    fixed("secret"),
    fixed("ends or ended"),
    fixed("last used"),
];

fn shown(reply: &IdentifiedSecrets) -> Result<(), Failure> {
    let identified: Vec<&IdentifiedSecret> =
        reply.found.iter().filter_map(|it| it.identified.as_ref()).collect();
    let counted = |number: usize, what: &str| match number {
        1 => format!("1 {what}"),
        number => format!("{number} {what}s"),
    };
    if reply.found.is_empty() {
        output::note("The text contains no client secret.");
    } else {
        output::note(&format!(
            "Found {}. {} that you can read.",
            counted(reply.found.len(), "client secret"),
            match identified.len() {
                0 => "None belongs to a registration".to_owned(),
                1 => "1 belongs to a registration".to_owned(),
                number => format!("{number} belong to registrations"),
            }
        ));
    }
    if reply.older_secrets_not_searched {
        output::warning(
            "The instance has secrets of an earlier version that cannot be recognised until they are used again.",
        );
    }
    if !reply.found.is_empty() {
        table(&COLUMNS, reply.found.iter().map(row).collect())?;
    }
    if identified.iter().any(|it| is_valid(it)) {
        output::note(
            "Replace a current secret with crossfade secret rotate --transition 0 --compromised, and end a retiring \
            one with crossfade secret revoke --compromised.",
        );
    }
    Ok(())
}

fn row(found: &FoundSecret) -> Vec<String> {
    let line = found.line.to_string();
    let Some(it) = &found.identified else {
        return [line, "unknown".into()].into_iter().chain(std::iter::repeat_n("-".to_owned(), 5)).collect();
    };
    let client =
        if it.client_deleted_at.is_some() { format!("{} (deleted)", it.client) } else { it.client.clone() };
    vec![
        line,
        it.secret.state.as_str().to_owned(),
        client,
        it.environment.clone(),
        it.secret.id.to_string(),
        time(it.secret.revoked_at.or(it.secret.expires_at)),
        time(it.secret.last_used_at),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossfade_authority::SystemRandom;
    use crossfade_core::{
        environment::EnvironmentKind,
        secret::{SecretKind, SecretValue},
    };

    #[test]
    fn a_text_in_pieces_of_any_size_is_read_like_the_whole_text() {
        let secret = || SecretValue::generate(SecretKind::Client(EnvironmentKind::Live), &SystemRandom);
        let (one, other) = (secret(), secret());
        let text = format!("a\nb\n{}x{}\n\n{}", one.reveal(), other.reveal(), one.reveal());
        let expected = [(4, 3), (69, 3), (135, 5)];
        for size in [1, 7, 64, 100, 1000] {
            let mut finder = Finder::default();
            for piece in text.as_bytes().chunks(size) {
                finder.take(piece).unwrap();
            }
            let places: Vec<_> = finder.places.iter().map(|(at, (line, _))| (*at, *line)).collect();
            assert_eq!(places, expected, "pieces of {size}");
            assert!(finder.piece.len() <= OVERLAP);
        }
    }
}
