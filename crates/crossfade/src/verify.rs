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
    /// Why a consistent trail is not proven; `null` if it is, or if there is a fault.
    not_proven: Option<String>,
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
    let not_proven = verification.verified.as_ref().and_then(|verified| not_proven(&verification, verified));
    match (args.json, &verification.verified) {
        (true, _) => output::json(&Report {
            verification: &verification,
            message: message.clone(),
            not_proven: not_proven.clone(),
        })?,
        (false, Some(verified)) => output::data(&lines(&verification, verified))?,
        (false, None) => {}
    }
    match (message, not_proven) {
        (Some(message), _) => Err(Failure::failed(message)),
        (None, Some(sentence)) => Err(Failure::not_proven(sentence)),
        (None, None) => Ok(()),
    }
}

/// Returns why a consistent trail is not proven: nothing shows who signed it, or the checkpoint was not compared.
fn not_proven(verification: &Verification, verified: &Verified) -> Option<String> {
    if !verification.keys_are_known {
        let master_key = match verification.scope {
            VerifiedScope::Database => ", or the settings to the master key of the instance",
            _ => "",
        };
        return Some(format!(
            "The signer is not known, so anyone could have written and signed this trail. Set --key to the key ID of \
            the instance, or --checkpoint to a checkpoint kept outside{master_key}."
        ));
    }
    let seq = verified.not_compared?;
    Some(format!(
        "The checkpoint was not compared: it is about event {seq}, and the trail begins later. Use a later checkpoint."
    ))
}

/// Returns what was verified, in sentences.
fn lines(verification: &Verification, verified: &Verified) -> String {
    let mut text = String::new();
    if !verification.keys_are_known {
        text.push_str("Not proven: the signer is not known.\n");
    }
    if verified.not_compared.is_some() {
        text.push_str("Not proven: the checkpoint was not compared.\n");
    }
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
        false => {
            writeln!(text, "Signed by key {keys}. Nothing here shows that the key belongs to the instance.")
        }
    };
    text
}
