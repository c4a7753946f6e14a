//! `node list` and `node show NAME`: who registered in the datastore, as this daemon knows it.

use super::output::{facts, print, print_json};
use super::{Failure, ReadArgs};
use crate::cluster::registry::{NodeRecord, NodeRole};
use crate::daemon::human::{Align, Colour, Table, colours_wanted};
use clap::{Args, Subcommand};
use std::collections::BTreeMap;

#[derive(Debug, Args)]
pub(super) struct NodeArgs {
    #[command(subcommand)]
    command: NodeCommand,
}

#[derive(Debug, Subcommand)]
enum NodeCommand {
    /// All nodes
    List(ReadArgs),
    /// One node
    Show {
        /// Its name
        name: String,
        #[command(flatten)]
        read: ReadArgs,
    },
}

pub(super) async fn node(args: &NodeArgs) -> Result<(), Failure> {
    let (NodeCommand::List(read) | NodeCommand::Show { read, .. }) = &args.command;
    let nodes: BTreeMap<String, NodeRecord> = read.daemon.client().get("/v1/nodes").await?;
    match &args.command {
        NodeCommand::List(_) if read.json => print_json(&nodes),
        NodeCommand::List(_) => print(&render_all(&nodes, colours_wanted())),
        NodeCommand::Show { name, .. } => {
            let node =
                nodes.get(name).ok_or_else(|| Failure::Failed(format!("no node {name} is registered")))?;
            if read.json { print_json(node) } else { print(&render_one(name, node)) }
        }
    }
}

fn render_all(nodes: &BTreeMap<String, NodeRecord>, colours: bool) -> String {
    if nodes.is_empty() {
        return "no nodes\n".to_owned();
    }
    let titles = ["NODE", "ADDRESSES", "AS", "ROLE", "ZONE", "BLOCKS"];
    let mut table = Table::new(titles.map(|title| (title, Align::Left)).to_vec());
    for (name, node) in nodes {
        let cells = [
            name.clone(),
            texts(&node.addresses),
            node.asn.to_string(),
            role(node.role).to_owned(),
            node.zone.clone().unwrap_or_default(),
            texts(&node.blocks),
        ];
        table.row(cells.map(|cell| (cell, Colour::Plain)).to_vec());
    }
    table.render(colours)
}

fn render_one(name: &str, node: &NodeRecord) -> String {
    facts([
        ("node", Some(name.to_owned())),
        ("addresses", Some(texts(&node.addresses))),
        ("port", Some(node.port.to_string())),
        ("AS", Some(node.asn.to_string())),
        ("role", Some(role(node.role).to_owned())),
        ("cluster id", node.cluster_id.map(|id| id.to_string())),
        ("zone", node.zone.clone()),
        ("blocks", Some(texts(&node.blocks)).filter(|blocks| !blocks.is_empty())),
    ])
}

fn role(role: NodeRole) -> &'static str {
    match role {
        NodeRole::Node => "node",
        NodeRole::Reflector => "reflector",
    }
}

fn texts<T: ToString>(values: &[T]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_fit_a_table_and_a_list() {
        let json =
            r#"{"version":1,"addresses":["10.0.0.2","fd00::2"],"blocks":["192.168.1.0/26"],"zone":"a"}"#;
        let node = NodeRecord::from_json(json.as_bytes()).unwrap();
        let nodes = BTreeMap::from([("node-b".to_owned(), node.clone())]);
        assert_eq!(
            render_all(&nodes, false),
            "NODE    ADDRESSES          AS     ROLE  ZONE  BLOCKS\n\
             node-b  10.0.0.2, fd00::2  64512  node  a     192.168.1.0/26\n"
        );
        assert_eq!(render_all(&BTreeMap::new(), false), "no nodes\n");
        assert_eq!(
            render_one("node-b", &node),
            "node             node-b\n\
             addresses        10.0.0.2, fd00::2\n\
             port             179\n\
             AS               64512\n\
             role             node\n\
             zone             a\n\
             blocks           192.168.1.0/26\n"
        );
    }
}
