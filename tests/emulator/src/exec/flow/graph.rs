//! Directed graphs: edges by node, depth-first order, strongly connected parts.

use super::number;

/// A directed graph of nodes 0 to n - 1.
pub(super) struct Graph {
    /// By node: where its edges begin in `targets`; one more at the end.
    first: Vec<u32>,
    targets: Vec<u32>,
}

/// The strongly connected parts of a graph.
pub(super) struct Parts {
    /// How many there are.
    pub(super) count: usize,
    /// By node: its part. [`OUTSIDE`] for nodes that were left out.
    pub(super) of: Vec<u32>,
}

/// No part, no number yet.
pub(super) const OUTSIDE: u32 = u32::MAX;

impl Graph {
    /// A graph of `nodes` nodes.
    pub(super) fn new(nodes: usize, edges: &[(u32, u32)]) -> Self {
        let mut first = vec![0_u32; nodes + 1];
        for &(from, _) in edges {
            first[from as usize + 1] += 1;
        }
        for node in 0..nodes {
            first[node + 1] += first[node];
        }
        let mut free = first.clone();
        let mut targets = vec![0; edges.len()];
        for &(from, to) in edges {
            let slot = &mut free[from as usize];
            targets[*slot as usize] = to;
            *slot += 1;
        }
        Self { first, targets }
    }

    /// How many nodes it has.
    pub(super) fn len(&self) -> usize {
        self.first.len() - 1
    }

    /// Where a node's edges lead.
    pub(super) fn successors(&self, node: u32) -> &[u32] {
        let node = node as usize;
        &self.targets[self.first[node] as usize..self.first[node + 1] as usize]
    }

    /// All edges, by the node that they leave.
    pub(super) fn edges(&self) -> impl Iterator<Item = (u32, u32)> {
        (0..number(self.len())).flat_map(|from| self.successors(from).iter().map(move |&to| (from, to)))
    }

    /// With every edge turned round.
    pub(super) fn reversed(&self) -> Self {
        let edges: Vec<_> = self.edges().map(|(from, to)| (to, from)).collect();
        Self::new(self.len(), &edges)
    }

    /// All nodes in the order in which a depth-first search finds them that starts at node 0, and again at the first
    /// node not found yet.
    pub(super) fn depth_first(&self) -> Vec<u32> {
        let mut found = vec![false; self.len()];
        let mut order = Vec::with_capacity(self.len());
        let mut stack = Vec::new();
        for root in 0..number(self.len()) {
            stack.push(root);
            while let Some(node) = stack.pop() {
                if !std::mem::replace(&mut found[node as usize], true) {
                    order.push(node);
                    stack.extend(self.successors(node).iter().rev().filter(|&&next| !found[next as usize]));
                }
            }
        }
        order
    }

    /// The strongly connected parts of what the nodes in `inside` and the edges between them make up, by Tarjan's
    /// algorithm (SIAM J. Comput. 1, 1972).
    pub(super) fn strongly_connected(&self, inside: &[bool]) -> Parts {
        let mut search = Search {
            found: vec![OUTSIDE; self.len()],
            lowest: vec![OUTSIDE; self.len()],
            parts: Parts { count: 0, of: vec![OUTSIDE; self.len()] },
            pending: Vec::new(),
            next: 0,
        };
        // Nodes on the way from the root, each with how many of its edges were followed.
        let mut way: Vec<(u32, usize)> = Vec::new();
        for root in 0..number(self.len()) {
            if !inside[root as usize] || search.found[root as usize] != OUTSIDE {
                continue;
            }
            search.enter(root);
            way.push((root, 0));
            while let Some((node, followed)) = way.last_mut() {
                let node = *node;
                let Some(&next) = self.successors(node).get(*followed) else {
                    way.pop();
                    search.leave(node, way.last().map(|&(parent, _)| parent));
                    continue;
                };
                *followed += 1;
                if !inside[next as usize] {
                    continue;
                }
                if search.found[next as usize] == OUTSIDE {
                    search.enter(next);
                    way.push((next, 0));
                } else if search.parts.of[next as usize] == OUTSIDE {
                    let lowest = &mut search.lowest[node as usize];
                    *lowest = (*lowest).min(search.found[next as usize]);
                }
            }
        }
        search.parts
    }
}

/// The state of Tarjan's algorithm.
struct Search {
    /// By node: when it was found.
    found: Vec<u32>,
    /// By node: the earliest node known to be in its part, by when that was found.
    lowest: Vec<u32>,
    parts: Parts,
    /// Nodes found whose part isn't complete.
    pending: Vec<u32>,
    next: u32,
}

impl Search {
    fn enter(&mut self, node: u32) {
        self.found[node as usize] = self.next;
        self.lowest[node as usize] = self.next;
        self.next += 1;
        self.pending.push(node);
    }

    fn leave(&mut self, node: u32, parent: Option<u32>) {
        let lowest = self.lowest[node as usize];
        if let Some(parent) = parent {
            let parent = &mut self.lowest[parent as usize];
            *parent = (*parent).min(lowest);
        }
        if lowest != self.found[node as usize] {
            return;
        }
        while let Some(member) = self.pending.pop() {
            self.parts.of[member as usize] = number(self.parts.count);
            if member == node {
                break;
            }
        }
        self.parts.count += 1;
    }
}
