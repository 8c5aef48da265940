//! `crossfade node list`.

use super::http::Api;
use crate::{
    cli::Node as Command,
    failure::Failure,
    output::{self, fixed, text, time},
};
use crossfade_core::api::Node;

/// Runs the command.
pub(crate) async fn node(Command::List(remote): Command) -> Result<(), Failure> {
    let nodes: Vec<Node> = Api::new(&remote)?.get("/nodes").await?;
    if remote.json {
        return output::json(&nodes);
    }
    let row = |it: Node| {
        let lease = it.lease_until.map_or_else(|| "not needed".to_owned(), |until| time(Some(until)));
        let uncertainty = format!("{:.1} ms", it.uncertainty_ms);
        vec![
            it.id.to_string(),
            it.name,
            it.version,
            time(Some(it.started_at)),
            lease,
            it.applied.to_string(),
            uncertainty,
            if it.leads { "yes" } else { "no" }.to_owned(),
        ]
    };
    output::table(
        &[
            fixed("id"),
            text("name"),
            text("version"),
            fixed("started"),
            fixed("lease until"),
            fixed("applied"),
            fixed("uncertainty"),
            fixed("leads"),
        ],
        nodes.into_iter().map(row).collect(),
    )
}
