//! Control flow of a function: where diverged lanes meet again, and what is inside loops.
//!
//! All of it is done on basic blocks. Lanes that part at a branch meet at its immediate post-dominator: the first
//! instruction that every way from the branch to the end of the function goes through. A loop that can't be left would
//! have none, so such a loop counts as if it could be left just ahead of its first block. Loops are the strongly
//! connected parts of the graph, and those that remain in one when its first block is taken away; where control flow is
//! reducible these are the natural loops, with loops of one header as one.

mod dominators;
mod graph;
mod loops;

use graph::Graph;

/// Where execution goes after an instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// To the next instruction.
    Through,
    /// Unconditionally to another.
    Jump(u32),
    /// To one of several: the targets of a branch, and the next instruction (given as a number like the others)
    /// where lanes can fall through.
    Branch(Vec<u32>),
    /// Out of the function: `ret`, `exit`, `trap`. A guarded one is a `Branch` to the end and to the next.
    Leave,
}

/// The number that stands for the end of a function: one past its last instruction.
#[must_use]
pub fn end(instructions: &[Next]) -> u32 {
    u32::try_from(instructions.len()).unwrap_or(u32::MAX)
}

/// Facts of a function's control flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// By instruction: its immediate post-dominator, or [`end`]. Where lanes that part at a branch meet again. In a
    /// loop that can't be left, the last instruction's is the first.
    pub meets: Vec<u32>,
    /// By instruction: how many loops it is in, at most [`MOST_LOOPS`].
    pub loops: Vec<u16>,
}

/// Loops inside each other beyond this many aren't told apart.
pub const MOST_LOOPS: u16 = 64;

/// Analyses a function whose instructions go on as `instructions` say; execution starts at the first. A target past
/// the last instruction is the end of the function.
///
/// Takes O(n log n) time and O(n) memory for n instructions and targets.
#[must_use]
pub fn analyse(instructions: &[Next]) -> Flow {
    let end = end(instructions);
    let blocks = Blocks::of(instructions, end);
    let count = blocks.starts.len();
    // Node by node a block, then the end.
    let end_node = number(count);
    let graph = Graph::new(count + 1, &blocks.edges(instructions, end_node));
    let order = graph.depth_first();

    let (exits, headers) = with_exits(&graph, end_node, &order);
    let post_dominators = dominators::immediate(&exits.reversed(), end_node);
    let nesting = loops::nesting(&graph, &order, MOST_LOOPS);

    // Where a node begins; what was added ahead of a header begins there.
    let start = |node: u32| {
        let node = node as usize;
        let block = if node > count { headers[node - count - 1] as usize } else { node };
        blocks.starts.get(block).copied().unwrap_or(end)
    };
    let mut flow =
        Flow { meets: Vec::with_capacity(instructions.len()), loops: Vec::with_capacity(instructions.len()) };
    for block in 0..count {
        let last = blocks.last(block, end);
        for instruction in blocks.starts[block]..last {
            flow.meets.push(instruction + 1);
            flow.loops.push(nesting[block]);
        }
        flow.meets.push(start(post_dominators[block]));
        flow.loops.push(nesting[block]);
    }
    flow
}

/// By node of a graph of `nodes` nodes: whether a way along `edges` leads from it back to it.
#[must_use]
pub fn in_cycles(nodes: usize, edges: &[(u32, u32)]) -> Vec<bool> {
    let graph = Graph::new(nodes, edges);
    let parts = graph.strongly_connected(&vec![true; nodes]);
    let mut cyclic = vec![false; parts.count];
    for (from, to) in graph.edges() {
        let part = parts.of[from as usize];
        if part == parts.of[to as usize] {
            cyclic[part as usize] = true;
        }
    }
    parts.of.iter().map(|part| cyclic[*part as usize]).collect()
}

/// The basic blocks of a function.
struct Blocks {
    /// The first instruction of each, ascending.
    starts: Vec<u32>,
    /// By instruction: its block.
    of: Vec<u32>,
}

impl Blocks {
    fn of(instructions: &[Next], end: u32) -> Self {
        let mut starts_block = vec![false; instructions.len() + 1];
        starts_block[0] = true;
        for (index, next) in instructions.iter().enumerate() {
            let targets = match next {
                Next::Through => continue,
                Next::Jump(target) => std::slice::from_ref(target),
                Next::Branch(targets) => targets,
                Next::Leave => &[],
            };
            starts_block[index + 1] = true;
            for &target in targets {
                starts_block[target.min(end) as usize] = true;
            }
        }
        let mut starts = Vec::new();
        let mut of = Vec::with_capacity(instructions.len());
        for instruction in 0..end {
            if starts_block[instruction as usize] {
                starts.push(instruction);
            }
            of.push(number(starts.len() - 1));
        }
        Self { starts, of }
    }

    /// The last instruction of a block.
    fn last(&self, block: usize, end: u32) -> u32 {
        self.starts.get(block + 1).copied().unwrap_or(end) - 1
    }

    /// Where each block goes on.
    fn edges(&self, instructions: &[Next], end_node: u32) -> Vec<(u32, u32)> {
        let node = |instruction: u32| self.of.get(instruction as usize).copied().unwrap_or(end_node);
        let mut edges = Vec::new();
        for block in 0..self.starts.len() {
            let last = self.last(block, end(instructions));
            let from = number(block);
            match &instructions[last as usize] {
                Next::Through => edges.push((from, node(last + 1))),
                Next::Jump(target) => edges.push((from, node(*target))),
                Next::Branch(targets) if !targets.is_empty() => {
                    edges.extend(targets.iter().map(|&target| (from, node(target))));
                }
                Next::Branch(_) | Next::Leave => edges.push((from, end_node)),
            }
        }
        edges
    }
}

/// The graph with a way to the end out of every loop that has none: a node of its own ahead of the loop's first block,
/// which goes there and to the end. Also those first blocks, by added node.
fn with_exits(graph: &Graph, end_node: u32, order: &[u32]) -> (Graph, Vec<u32>) {
    let parts = graph.strongly_connected(&vec![true; graph.len()]);
    // A part is left for good where none of its nodes leads out of it.
    let mut closed = vec![true; parts.count];
    for (from, to) in graph.edges() {
        if parts.of[from as usize] != parts.of[to as usize] {
            closed[parts.of[from as usize] as usize] = false;
        }
    }
    closed[parts.of[end_node as usize] as usize] = false;
    let mut ahead = vec![None; graph.len()];
    let mut headers = Vec::new();
    for &node in order {
        let part = parts.of[node as usize] as usize;
        if std::mem::take(&mut closed[part]) {
            ahead[node as usize] = Some(number(graph.len() + headers.len()));
            headers.push(node);
        }
    }
    let mut edges: Vec<_> = graph.edges().map(|(from, to)| (from, ahead[to as usize].unwrap_or(to))).collect();
    for (index, &header) in headers.iter().enumerate() {
        let added = number(graph.len() + index);
        edges.extend([(added, header), (added, end_node)]);
    }
    (Graph::new(graph.len() + headers.len(), &edges), headers)
}

/// A place in a list as the number of an instruction or a node; there are less than 2^32 of those.
fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
