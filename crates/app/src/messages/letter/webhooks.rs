//! Letters about webhooks.

use super::{Facts, Said};

pub(super) fn tested(facts: &Facts<'_>) -> Option<Said> {
    let next = "Nothing needs to be done. Messages about your clients look like this one.";
    facts.text("webhook_id")?;
    Some(Said::new("Test of a webhook", "This is a test of a webhook", next).button("View the webhook"))
}

/// Whether a recipient manages the webhook that a message is about. An owner of its client may not.
pub(super) fn may_manage(facts: &Facts<'_>, to: &str) -> bool {
    let is_known = facts.0["managers"].is_array();
    !is_known || facts.list("managers").iter().any(|manager| manager.as_str() == Some(to))
}

pub(super) fn disabled(facts: &Facts<'_>, to: &str) -> Option<Said> {
    let why = match facts.text("disabled_as")? {
        "gone" => "the receiver answered that it is gone (410)",
        _ => "all attempts of 5 days failed",
    };
    let (next, button) = match may_manage(facts, to) {
        true => (
            "Correct the URL or the receiver, enable the webhook, and replay the deliveries that are missing.",
            "View the webhook",
        ),
        false => (
            "The webhook gets no messages about the client. Ask a person who manages the webhook to correct and enable it.",
            "View the client",
        ),
    };
    let said = Said::new("Webhook disabled", "A webhook was disabled", next).urgent(true);
    let said = match facts.text("client") {
        Some(client) => said.fact("Client", client),
        None => said,
    };
    let (host, last_error) = (facts.text("host")?, facts.text("last_error")?);
    let said = match may_manage(facts, to) {
        true => said.fact("Receiver", host).fact("Why", why).fact("Last failure", last_error),
        false => said.fact("Why", why),
    };
    Some(said.button(button))
}
