//! Runs each committed input once, so that the fuzzers stay usable and what they have found stays mended.

use std::{fs, path::Path};

fn run_corpus(name: &str, run: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let inputs: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!inputs.is_empty(), "{} is empty", directory.display());
    for input in inputs {
        let data = fs::read(&input).unwrap();
        let run = std::panic::catch_unwind(|| run(&data));
        assert!(run.is_ok(), "{} fails", input.display());
    }
}

macro_rules! corpora {
    ($($name:ident),+) => {$(
        #[test]
        fn $name() {
            run_corpus(stringify!($name), crossfade_fuzz::$name::run);
        }
    )+};
}

corpora!(api, backup, console, journal, oauth, pem, scim, token, trail, words);
