//! `crossfade audit verify`: the trail of a database, or an export.

use crate::{
    cli::Verify,
    failure::Failure,
    output::{self, time},
    progress::while_waiting,
};
use crossfade_app::{KnownOutside, Verification, VerifiedScope, verify_database, verify_export};
use crossfade_core::audit::verify::{Fork, Verified};
use serde::Serialize;
use std::fmt::Write;

#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    verification: &'a Verification,
    /// The fault as a sentence; `null` if there is none.
    message: Option<String>,
}

/// Runs `crossfade audit verify`.
pub(crate) async fn verify(args: Verify) -> Result<(), Failure> {
    let checkpoint = args.checkpoint.as_deref().map(KnownOutside::read_checkpoint).transpose()?;
    let outside = KnownOutside { checkpoint, keys: args.key };
    let verification = match &args.file {
        Some(file) => verify_export(file, &outside)?,
        None => {
            let settings = args.settings.resolve()?;
            let verified = verify_database(&settings.location, &settings.master_key, &outside);
            while_waiting("Verifying the audit trail", verified).await?
        }
    };
    let message = verification.fault.as_ref().map(ToString::to_string);
    match (args.json, &verification.verified) {
        (true, _) => output::json(&Report { verification: &verification, message: message.clone() })?,
        (false, Some(verified)) => output::data(&lines(&verification, verified))?,
        (false, None) => {}
    }
    match message {
        None => Ok(()),
        Some(message) => Err(Failure::failed(message)),
    }
}

/// Returns what was verified, in sentences.
fn lines(verification: &Verification, verified: &Verified) -> String {
    let mut text = String::new();
    let range = match (verified.first_seq, verified.last_seq) {
        (Some(first), Some(last)) => format!("{} events, {first} to {last}", verified.events),
        _ => "no events".to_owned(),
    };
    // Writing to a string does not fail.
    let _ = match verification.scope {
        VerifiedScope::Database => writeln!(text, "Verified the complete trail: {range}."),
        VerifiedScope::CompleteExport => writeln!(text, "Verified the complete export: {range}."),
        VerifiedScope::FilteredExport => writeln!(
            text,
            "Verified each row of a filtered export ({}): {range}. Events that do not match the filter were not \
            verified.",
            verification.filter.as_deref().unwrap_or_default()
        ),
    };
    if verified.before_chain > 0 {
        let together = match verification.scope {
            VerifiedScope::FilteredExport => {
                "They have no hash of their own and are covered by the export's signature."
            }
            _ => "They are verified together, as they were when the chain began.",
        };
        let _ = writeln!(
            text,
            "{} of these events were recorded before the trail had a chain. {together}",
            verified.before_chain
        );
    }
    let _ = match (verified.signed_seq, verified.last_seq) {
        (Some(signed), Some(last)) if signed < last => writeln!(
            text,
            "Signed up to event {signed} at {}. Events {} to {last} continue the chain and are not signed yet.",
            time(verified.signed_at),
            signed + 1
        ),
        (Some(signed), _) => writeln!(text, "Signed up to event {signed} at {}.", time(verified.signed_at)),
        (None, _) => Ok(()),
    };
    for Fork { seq, backup_created_at, restored_at } in &verified.forks {
        let _ = writeln!(
            text,
            "A backup taken at {} was restored at {}: the restored history ends with event {seq}, and a new one \
            begins with event {}.",
            time(*backup_created_at),
            time(Some(*restored_at)),
            seq + 1
        );
    }
    let keys: Vec<&str> = verification.keys.iter().map(String::as_str).collect();
    let keys = keys.join(", ");
    let _ = match verification.keys_are_known {
        true => writeln!(text, "Signed by key {keys}."),
        false => writeln!(
            text,
            "Signed by key {keys}. Nothing here shows that the key is the instance's: compare it with a checkpoint \
            kept outside (--checkpoint or --key)."
        ),
    };
    text
}
