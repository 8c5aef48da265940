//! What documents claim of tests: each test that they name is there.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Documents whose rows name what holds them, with the fewest rows that they have.
const DOCUMENTS: [(&str, usize); 2] = [("docs/concepts/standards.md", 130), ("SECURITY.md", 70)];
/// What stands in a row that names no test.
const EXCUSES: [&str; 2] = ["not offered", "[decision 0021]"];

#[test]
fn every_test_that_a_document_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    for directory in ["crates", "tests", "fuzz/fuzz_targets"] {
        collect(&root.join(directory), &mut files);
    }
    let mut missing = Vec::new();
    for (document, fewest) in DOCUMENTS {
        let text = fs::read_to_string(root.join(document)).unwrap();
        let rows: Vec<_> =
            text.lines().filter(|line| line.starts_with("| ")).filter(|line| !is_heading(line)).collect();
        assert!(rows.len() >= fewest, "{document} has {} rows", rows.len());
        for row in rows {
            let proofs: Vec<_> =
                row.split('`').skip(1).step_by(2).filter_map(|code| code.split_once("::")).collect();
            if proofs.is_empty() && !EXCUSES.iter().any(|excuse| row.contains(excuse)) {
                missing.push(format!("{document} names no test: {row:.100}"));
            }
            for (file, test) in proofs {
                if !files.iter().any(|path| path.ends_with(file) && holds(path, test)) {
                    missing.push(format!("{document}: {file}::{test}"));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

fn is_heading(row: &str) -> bool {
    ["| row |", "| attack |"].iter().any(|heading| row.starts_with(heading))
}

/// Whether a file has a test of this name; in a script also what a check is called.
fn holds(path: &Path, test: &str) -> bool {
    let text = fs::read_to_string(path).unwrap();
    if path.extension().is_some_and(|extension| extension == "rs") {
        text.contains(&format!("fn {test}("))
    } else {
        text.contains(test)
    }
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("node_modules") {
                collect(&path, files);
            }
        } else if path
            .extension()
            .is_some_and(|extension| ["rs", "py", "mjs"].iter().any(|known| extension == *known))
        {
            files.push(path);
        }
    }
}
