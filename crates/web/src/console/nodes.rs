//! Nodes: the serving processes, and until when each can decide.

use super::{
    layout::{Layout, Section},
    page,
    session::SignedIn,
};
use crate::reply::Reply;
use askama::Template;
use crossfade_core::{Timestamp, api::Node};

#[derive(Template)]
#[template(path = "console/nodes.html")]
struct NodesPage {
    layout: Layout,
    now: Timestamp,
    nodes: Vec<Node>,
    /// Process that wrote the page.
    own: String,
}

impl NodesPage {
    /// Whether only one process can decide, so that there are no leases.
    fn is_alone(&self) -> bool {
        self.nodes.iter().all(|node| node.lease_until.is_none())
    }

    fn has_lost_its_lease(&self, node: &Node) -> bool {
        node.lease_until.is_some_and(|until| until <= self.now)
    }

    fn uncertainty(&self, node: &Node) -> String {
        format!("{:.1} ms", node.uncertainty_ms)
    }
}

pub(super) async fn show(signed: SignedIn) -> Reply {
    let nodes = signed.app.list_nodes(signed.principal()).await?;
    let (now, own) = (signed.session.now, signed.app.own_node().to_string());
    Ok(page(&NodesPage { layout: signed.layout(Section::Nodes, "Nodes"), now, nodes, own }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::crossfade::samples;
    use crossfade_core::{NodeId, base62};
    use std::time::Duration;

    fn sample(lease_until: Option<Timestamp>) -> String {
        let id = NodeId::parse(&format!("node_{}", base62::encode_fixed(&[7; 16], 22))).unwrap();
        let node = Node {
            id: id.clone(),
            name: "east-1".into(),
            version: "0.1.0".into(),
            started_at: samples::now(),
            lease_until,
            applied: 4711,
            uncertainty_ms: 0.42,
            leads: true,
        };
        let layout = Layout::sample(Section::Nodes, "Nodes");
        NodesPage { layout, now: samples::now(), nodes: vec![node], own: id.to_string() }.render().unwrap()
    }

    #[test]
    fn the_page_says_which_node_can_decide() {
        let html = sample(Some(samples::now().after(Duration::from_secs(9))));
        assert!(html.contains("east-1") && html.contains("4711") && html.contains("0.4 ms"), "{html}");
        assert!(
            html.contains("This page") && html.contains("Can decide") && html.contains("Leads"),
            "{html}"
        );
        assert!(sample(Some(samples::now())).contains("Lease ended"), "at its end");
        let alone = sample(None);
        assert!(
            alone.contains("only this process") && !alone.contains("Lease") && !alone.contains("Leads"),
            "{alone}"
        );
    }
}
