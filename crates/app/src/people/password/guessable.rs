//! Long passwords that are easy to guess: common passwords, repetitions, sequences, and combinations of the names of
//! the service and the person (NIST SP 800-63B-4 §3.1.1.2). Works offline.

/// Passwords of at least 15 characters among the 400,000 most frequent of a public collection of ten million leaked
/// passwords, in lower case, sorted.
const COMMON: &str = include_str!("common.txt");

/// Words that add nothing to a password.
const WORDS: [&str; 16] = [
    "administrator",
    "crossfade",
    "password",
    "passwort",
    "iloveyou",
    "welcome",
    "letmein",
    "changeme",
    "default",
    "qwertz",
    "qwerty",
    "secret",
    "admin",
    "login",
    "access",
    "user",
];

/// Minimum number of characters left after removing those words.
const OWN_CHARACTERS: usize = 8;
/// Minimum number of different characters in a password.
const DISTINCT: usize = 5;

/// Keyboard rows and the alphabet, for detecting sequences.
const ROWS: [&str; 7] = [
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890",
    "qwertyuiop",
    "qwertzuiop",
    "asdfghjkl",
    "zxcvbnm",
    "yxcvbnm",
];

/// Returns why a password is easy to guess, as the end of a sentence; `None` if it is not.
pub(super) fn why(password: &str, about: &[&str]) -> Option<&'static str> {
    let lower = password.to_lowercase();
    if COMMON.lines().any(|common| common == lower) {
        return Some("must not be a common password");
    }
    let letters: Vec<char> = lower.chars().collect();
    let distinct: std::collections::HashSet<_> = letters.iter().collect();
    if distinct.len() < DISTINCT || repeats(&letters) {
        return Some("must not repeat the same few characters");
    }
    if slides(&letters) {
        return Some("must not be a sequence of letters, digits or keys");
    }
    (own_characters(&lower, about) < OWN_CHARACTERS)
        .then_some("must not consist of your own name, your email address or the name of this service")
}

/// Whether a password repeats a shorter text.
fn repeats(letters: &[char]) -> bool {
    (1..=letters.len() / 2).any(|unit| letters[unit..].iter().zip(letters).all(|(one, before)| one == before))
}

/// Whether three out of four steps go to a neighbour.
fn slides(letters: &[char]) -> bool {
    let neighbours = |one: char, other: char| {
        one == other
            || ROWS.iter().any(|row| {
                row.chars().zip(row.chars().skip(1)).any(|pair| pair == (one, other) || pair == (other, one))
            })
    };
    let steps = letters.windows(2).filter(|pair| neighbours(pair[0], pair[1])).count();
    steps * 4 >= letters.len().saturating_sub(1) * 3
}

/// Returns the number of letters and digits left without the words that an attacker would try first.
fn own_characters(lower: &str, about: &[&str]) -> usize {
    let about = about.iter().flat_map(|text| text.split(|c: char| !c.is_alphanumeric()));
    let mut words: Vec<String> =
        about.map(str::to_lowercase).filter(|word| word.chars().count() >= 3).collect();
    words.extend(WORDS.map(str::to_owned));
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    let rest = words.iter().fold(lower.to_owned(), |rest, word| rest.replace(word, " "));
    rest.chars().filter(|character| character.is_alphanumeric()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABOUT: [&str; 3] = ["ada.lovelace@example.com", "Ada Lovelace", "auth.example.com"];

    #[test]
    fn what_is_guessed_first_is_refused() {
        for (password, what) in [
            ("qwerty123456789", "common password"),
            ("PasswordPassword", "common password"),
            ("1QAZ2wsx3edc4rfv", "common password"),
            ("hhhhhhhhhhhhhhhhhhhhh", "same few characters"),
            ("abababababababab", "same few characters"),
            ("tr0ub4dortr0ub4dor", "same few characters"),
            ("bcdefghijklmnopqr", "sequence"),
            ("9876543210abcdef", "sequence"),
            ("Crossfade-Password1!", "your own name"),
            ("AdaLovelace2026!!", "your own name"),
            ("ada@example.com 1234567", "your own name"),
        ] {
            assert!(
                why(password, &ABOUT).is_some_and(|why| why.contains(what)),
                "{password}: {:?}",
                why(password, &ABOUT)
            );
        }
    }

    #[test]
    fn a_sentence_of_one_s_own_is_taken() {
        for password in [
            "correct horse battery staple",
            "a sentence that nobody guesses",
            "Ada walks 12 dogs at noon",
            "пятнадцать букв хватит",
            "kY3#vv0-pQ!9zLw2",
            "請求書は毎月五日までに送ってください",
        ] {
            assert_eq!(why(password, &ABOUT), None, "{password}");
        }
    }

    #[test]
    fn the_list_is_lower_case_sorted_and_long_enough_to_matter() {
        let lines: Vec<_> = COMMON.lines().collect();
        assert!(lines.len() > 500 && lines.is_sorted());
        assert!(lines.iter().all(|line| line.chars().count() >= 15 && *line == line.to_lowercase()));
    }
}
