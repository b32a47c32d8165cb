//! Immediate dominators, by the algorithm of Lengauer and Tarjan with path compression alone (ACM TOPLAS 1, 1979).

use super::graph::{Graph, OUTSIDE};
use super::number;

/// By node: the last node that every way from `root` to it goes through, itself left out. The root's is the root; a
/// node that no way leads to has [`OUTSIDE`].
pub(super) fn immediate(graph: &Graph, root: u32) -> Vec<u32> {
    let tree = Tree::of(graph, root);
    let count = tree.nodes.len();
    let predecessors = graph.reversed();
    // From here on, nodes are known by their place in the depth-first order.
    let mut forest = Forest {
        ancestor: vec![OUTSIDE; count],
        best: (0..number(count)).collect(),
        semi: (0..number(count)).collect(),
        way: Vec::new(),
    };
    let mut dominator = vec![0_u32; count];
    // Lists of the nodes whose semidominator a node is: the first of each, and by node the next in its list.
    let mut first = vec![OUTSIDE; count];
    let mut following = vec![OUTSIDE; count];
    for place in (1..count).rev() {
        for &predecessor in predecessors.successors(tree.nodes[place]) {
            let predecessor = tree.place[predecessor as usize];
            if predecessor != OUTSIDE {
                let best = forest.best_above(predecessor);
                forest.semi[place] = forest.semi[place].min(forest.semi[best as usize]);
            }
        }
        let semi = forest.semi[place] as usize;
        following[place] = std::mem::replace(&mut first[semi], number(place));
        let parent = tree.parent[place];
        forest.ancestor[place] = parent;
        let mut waiting = std::mem::replace(&mut first[parent as usize], OUTSIDE);
        while waiting != OUTSIDE {
            let best = forest.best_above(waiting);
            let known = forest.semi[best as usize] >= forest.semi[waiting as usize];
            // Where it isn't known yet, it is the dominator of `best`.
            dominator[waiting as usize] = if known { parent } else { best };
            waiting = following[waiting as usize];
        }
    }
    for place in 1..count {
        if dominator[place] != forest.semi[place] {
            dominator[place] = dominator[dominator[place] as usize];
        }
    }
    let mut by_node = vec![OUTSIDE; graph.len()];
    for (place, &node) in tree.nodes.iter().enumerate() {
        by_node[node as usize] = tree.nodes[dominator[place] as usize];
    }
    by_node
}

/// A depth-first spanning tree.
struct Tree {
    /// Nodes in the order in which they were found.
    nodes: Vec<u32>,
    /// By node: its place in that order.
    place: Vec<u32>,
    /// By place: the place of its parent.
    parent: Vec<u32>,
}

impl Tree {
    fn of(graph: &Graph, root: u32) -> Self {
        let mut tree = Self { nodes: Vec::new(), place: vec![OUTSIDE; graph.len()], parent: Vec::new() };
        // A node may wait here several times; the last entry, which is taken first, has the parent that found it.
        let mut stack = vec![(root, 0)];
        while let Some((node, parent)) = stack.pop() {
            if tree.place[node as usize] != OUTSIDE {
                continue;
            }
            let place = number(tree.nodes.len());
            tree.place[node as usize] = place;
            tree.nodes.push(node);
            tree.parent.push(parent);
            let open = graph.successors(node).iter().filter(|&&next| tree.place[next as usize] == OUTSIDE);
            stack.extend(open.map(|&next| (next, place)));
        }
        tree
    }
}

/// The trees of nodes that were dealt with.
struct Forest {
    /// By place: its parent, or, where ways were compressed, one further up; [`OUTSIDE`] at a root.
    ancestor: Vec<u32>,
    /// By place: the node with the least semidominator on the way up to `ancestor`, that one left out.
    best: Vec<u32>,
    /// By place: its semidominator.
    semi: Vec<u32>,
    /// The way that is being compressed.
    way: Vec<u32>,
}

impl Forest {
    /// The node with the least semidominator on the way from a node to below its root.
    fn best_above(&mut self, place: u32) -> u32 {
        let mut at = place;
        while self.ancestor[at as usize] != OUTSIDE {
            self.way.push(at);
            at = self.ancestor[at as usize];
        }
        let root = at;
        // From the top down: the topmost hangs on the root and stays as it is.
        let mut above = self.way.pop();
        while let (Some(upper), Some(lower)) = (above, self.way.pop()) {
            let (upper_best, lower_best) = (self.best[upper as usize], self.best[lower as usize]);
            if self.semi[upper_best as usize] < self.semi[lower_best as usize] {
                self.best[lower as usize] = upper_best;
            }
            self.ancestor[lower as usize] = root;
            above = Some(lower);
        }
        self.best[place as usize]
    }
}
