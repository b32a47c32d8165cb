//! Graphs: work with an order, made by capture, and launched many times.

use std::sync::Arc;

use super::arguments::{Buffer, InOut, Out, OutHandle};
use super::context;
use super::errors::{Answer, Code};
use super::handles::{ContextHandle, ExecutableHandle, GraphHandle, Handle, NodeHandle, StreamHandle};
use super::state::{Device, State};
use super::work::{self, Work};

/// The most nodes that an executable graph may have, those of graphs in it included.
const NODES: usize = 1 << 16;
/// How deep graphs may be in graphs.
const DEPTH: usize = 16;
/// What an executable graph is made with: freeing of memory at launches, upload at once, launches from the device, and
/// priorities of nodes.
const FLAGS: u64 = 0xf;
/// The flag for launches from the device.
const DEVICE_LAUNCH: u64 = 4;

/// A node: work, and the nodes that it comes after.
#[derive(Debug, Clone)]
pub struct Node {
    /// The work.
    pub work: Arc<Work>,
    /// Places in the graph, all below this node's own.
    pub after: Vec<usize>,
}

/// A graph.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: Vec<Node>,
    handles: Vec<NodeHandle>,
}

/// An executable graph.
#[derive(Debug)]
pub struct Executable {
    plan: Arc<Plan>,
}

/// What launching a graph does.
#[derive(Debug)]
pub struct Plan {
    nodes: Vec<Node>,
    /// Nodes, those of graphs in it included.
    size: usize,
    /// How deep graphs are in it.
    depth: usize,
}

impl Graph {
    /// Adds a graph to the objects.
    pub fn add(state: &mut State, nodes: Vec<Node>) -> GraphHandle {
        let graph = state.graphs.add(Self::default());
        let handles = (0..nodes.len()).map(|place| state.nodes.add((graph, place))).collect();
        state.graphs.insert(graph, Self { nodes, handles });
        graph
    }
}

impl Plan {
    fn new(nodes: Vec<Node>) -> Answer<Self> {
        let (mut size, mut depth) = (nodes.len(), 1);
        for node in &nodes {
            if let Work::Graph(inner) = &*node.work {
                size = size.saturating_add(inner.size);
                depth = depth.max(inner.depth + 1);
            }
        }
        if size > NODES || depth > DEPTH {
            let message =
                format!("a graph of {size} nodes, {depth} deep: {NODES} nodes and a depth of {DEPTH} are allowed");
            return Err(Code::OutOfMemory.because(message));
        }
        Ok(Self { nodes, size, depth })
    }

    /// Does the work of all nodes in an order that their edges allow. Which of the allowed ones depends on the seed, so
    /// that a missing edge shows.
    ///
    /// # Errors
    ///
    /// Some work can't be done; what comes after it in the order isn't.
    pub fn run(&self, device: &Device, context: ContextHandle) -> Answer {
        let mut random = fastrand::Rng::with_seed(device.settings.options.seed);
        let mut missing: Vec<usize> = self.nodes.iter().map(|node| node.after.len()).collect();
        let mut next: Vec<Vec<usize>> = vec![Vec::new(); self.nodes.len()];
        for (place, node) in self.nodes.iter().enumerate() {
            for before in &node.after {
                next[*before].push(place);
            }
        }
        let mut ready: Vec<usize> = (0..self.nodes.len()).filter(|place| missing[*place] == 0).collect();
        while !ready.is_empty() {
            let place = ready.swap_remove(random.usize(..ready.len()));
            device.state().usable(context)?;
            work::run(device, context, &self.nodes[place].work)?;
            for after in &next[place] {
                missing[*after] -= 1;
                if missing[*after] == 0 {
                    ready.push(*after);
                }
            }
        }
        Ok(())
    }
}

/// `cuGraphCreate`: an empty one.
pub fn create(device: &Device, graph: OutHandle<GraphHandle>, flags: u32) -> Answer {
    if flags != 0 {
        return Err(Code::InvalidValue.because(format!("flags {flags:#x} of a graph")));
    }
    graph.check()?;
    graph.set(Some(Graph::add(&mut device.state(), Vec::new())))
}

/// `cuGraphDestroy`
pub fn destroy(device: &Device, graph: GraphHandle) -> Answer {
    let mut state = device.state();
    let object = state.graphs.remove(graph)?;
    for node in object.handles {
        state.nodes.remove(node)?;
    }
    Ok(())
}

/// `cuGraphInstantiateWithFlags`
pub fn instantiate(device: &Device, executable: OutHandle<ExecutableHandle>, graph: GraphHandle, flags: u64) -> Answer {
    if flags & !FLAGS != 0 {
        return Err(Code::InvalidValue.because(format!("flags {flags:#x} of an executable graph")));
    }
    if flags & DEVICE_LAUNCH != 0 {
        return Err(Code::NotSupported.because("graphs that are launched from the device are not supported"));
    }
    executable.check()?;
    let mut state = device.state();
    let plan = Arc::new(Plan::new(state.graphs.get(graph)?.nodes.clone())?);
    executable.set(Some(state.executables.add(Executable { plan })))
}

/// `cuGraphInstantiate_v2`: the old form, with a log.
pub fn instantiate_with_log(
    device: &Device,
    executable: OutHandle<ExecutableHandle>,
    graph: GraphHandle,
    node: OutHandle<NodeHandle>,
    log: Buffer,
    size: usize,
) -> Answer {
    log.write("", size);
    if !node.is_null() {
        node.set(None)?;
    }
    instantiate(device, executable, graph, 0)
}

/// A `CUDA_GRAPH_INSTANTIATE_PARAMS`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct InstantiateParameters {
    flags: u64,
    stream: usize,
    node: usize,
    result: u32,
}

/// `cuGraphInstantiateWithParams`
pub fn instantiate_with_parameters(
    device: &Device,
    executable: OutHandle<ExecutableHandle>,
    graph: GraphHandle,
    parameters: InOut<InstantiateParameters>,
) -> Answer {
    let given = parameters.read()?;
    let answer = instantiate(device, executable, graph, given.flags);
    parameters.write(InstantiateParameters { node: 0, result: u32::from(answer.is_err()), ..given });
    answer
}

/// `cuGraphExecDestroy`
pub fn destroy_executable(device: &Device, executable: ExecutableHandle) -> Answer {
    device.state().executables.remove(executable)?;
    Ok(())
}

/// `cuGraphUpload`: there is nothing to upload.
pub fn upload(device: &Device, executable: ExecutableHandle, stream: StreamHandle) -> Answer {
    let mut state = device.state();
    state.executables.get(executable)?;
    let key = state.stream(stream)?;
    context::of_stream(&state, key).map(|_| ())
}

/// `cuGraphLaunch`; in a stream that is captured, the graph becomes a node.
pub fn launch(device: &Device, executable: ExecutableHandle, stream: StreamHandle) -> Answer {
    let plan = Arc::clone(&device.state().executables.get(executable)?.plan);
    work::enqueue(device, stream, Work::Graph(plan))
}

/// `cuGraphExecGetFlags`: no flag has an effect.
pub fn executable_flags(device: &Device, executable: ExecutableHandle, flags: Out<u64>) -> Answer {
    device.state().executables.get(executable)?;
    flags.set(0)
}

/// Gives an array of handles as the interface does: with no array, their number; else as many as it has room for, null
/// after the last.
fn list(handles: &[NodeHandle], array: OutHandle<NodeHandle>, count: InOut<usize>) -> Answer {
    let room = count.read()?;
    if array.is_null() {
        count.write(handles.len());
        return Ok(());
    }
    for (index, handle) in handles.iter().take(room).enumerate() {
        array.set_at(index, Some(*handle));
    }
    for index in handles.len()..room {
        array.set_at(index, None);
    }
    count.write(room.min(handles.len()));
    Ok(())
}

/// `cuGraphGetNodes`
pub fn nodes(device: &Device, graph: GraphHandle, array: OutHandle<NodeHandle>, count: InOut<usize>) -> Answer {
    list(&device.state().graphs.get(graph)?.handles, array, count)
}

/// `cuGraphGetRootNodes`: those that come after none.
pub fn root_nodes(device: &Device, graph: GraphHandle, array: OutHandle<NodeHandle>, count: InOut<usize>) -> Answer {
    let state = device.state();
    let graph = state.graphs.get(graph)?;
    let roots: Vec<_> = graph
        .nodes
        .iter()
        .zip(&graph.handles)
        .filter(|(node, _)| node.after.is_empty())
        .map(|(_, node)| *node)
        .collect();
    list(&roots, array, count)
}

/// `cuGraphNodeGetDependencies`: those that a node comes after.
pub fn dependencies(device: &Device, node: NodeHandle, array: OutHandle<NodeHandle>, count: InOut<usize>) -> Answer {
    let state = device.state();
    let (graph, place) = *state.nodes.get(node)?;
    let graph = state.graphs.get(graph)?;
    let after = graph.nodes.get(place).map(|node| node.after.as_slice()).unwrap_or_default();
    let handles: Vec<_> = after.iter().filter_map(|place| graph.handles.get(*place).copied()).collect();
    list(&handles, array, count)
}

/// `cuGraphNodeGetType`
pub fn node_type(device: &Device, node: NodeHandle, number: Out<u32>) -> Answer {
    let state = device.state();
    let (graph, place) = *state.nodes.get(node)?;
    let node = state.graphs.get(graph)?.nodes.get(place).ok_or_else(|| node.invalid())?;
    number.set(match &*node.work {
        Work::Launch(_) => 0,
        Work::Copy(_) => 1,
        Work::Fill { .. } => 2,
        Work::Host(..) => 3,
        Work::Graph(_) => 4,
    })
}
