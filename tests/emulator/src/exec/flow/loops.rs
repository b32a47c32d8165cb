//! How deep each node is in loops (Steensgaard, "Sequentializing program dependence graphs for irreducible programs",
//! 1993): a strongly connected part is a loop; without its first node, what is still connected in it are the loops
//! inside.

use super::graph::Graph;

/// By node: how many loops it is in, counting up to `most`. `order` is a depth-first order of the nodes, which says
/// what is the first of a loop.
pub(super) fn nesting(graph: &Graph, order: &[u32], most: u16) -> Vec<u16> {
    let mut depth = vec![0; graph.len()];
    let mut inside = vec![true; graph.len()];
    for _ in 0..most {
        let parts = graph.strongly_connected(&inside);
        let mut cyclic = vec![false; parts.count];
        for (from, to) in graph.edges() {
            let part = parts.of[from as usize];
            if inside[from as usize] && inside[to as usize] && part == parts.of[to as usize] {
                cyclic[part as usize] = true;
            }
        }
        let mut headed = vec![false; parts.count];
        let mut any = false;
        for &node in order {
            let node = node as usize;
            if !inside[node] {
                continue;
            }
            let part = parts.of[node] as usize;
            if cyclic[part] {
                any = true;
                depth[node] += 1;
            }
            // What is in no loop has none inside, and the first node of a loop is in none of those inside of it.
            inside[node] = cyclic[part] && std::mem::replace(&mut headed[part], true);
        }
        if !any {
            break;
        }
    }
    depth
}
