//! Peers that cannot work.

use std::collections::BTreeMap;

use super::Doubt;
use crate::place::Section;
use crate::plan::{Host, Plan};

/// Everything doubtful about `[peers]`.
pub(super) fn peers(plan: &Plan) -> Vec<Doubt> {
    let own = plan.general.peer_id;
    let mut found = Vec::new();
    let others = plan.peers.values().filter(|peer| peer.id != own);
    if own == 0
        && let Some(peer) = others.clone().next()
    {
        found.push(Doubt {
            id: "peers-without-id",
            place: plan.places.find(Section::Peers, &peer.id.to_string()).cloned(),
            message: "there are [peers], and no peer_id of our own: cancel keys carry no id, so that no cancel request \
                      finds its way between them"
                .to_string(),
            todo: "set peer_id, another one in each instance",
        });
    }
    let mut seen: BTreeMap<(String, u16), u16> = BTreeMap::new();
    for peer in plan.peers.values() {
        let at = match &peer.at {
            Host::Tcp { host, port } => (host.to_ascii_lowercase(), *port),
            Host::Unix { dir, port } => (dir.display().to_string(), *port),
        };
        let Some(before) = seen.get(&at) else {
            seen.insert(at, peer.id);
            continue;
        };
        found.push(Doubt {
            id: "peer-twice",
            place: plan.places.find(Section::Peers, &peer.id.to_string()).cloned(),
            message: format!(
                "peer {} and peer {before} are at the same place ({} port {})",
                peer.id, at.0, at.1
            ),
            todo: "give each its own host= (the folder of its Unix socket) or port=",
        });
    }
    found
}
