//! What can go wrong when a Program is loaded or run.

/// An error of the runtime, for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The Program was made by a compiler of another format version.
    #[error(
        "the program has format {found}, this runtime reads format {expected}: compile the network again with the same version"
    )]
    Format {
        /// Version in the Program.
        found: u32,
        /// Version of this runtime.
        expected: u32,
    },
    /// The packed block is not as long as the Program says.
    #[error(
        "the program needs {expected} packed weights, but {found} were given: pack the checkpoint again for this program"
    )]
    WeightCount {
        /// Elements that the Program asks for.
        expected: usize,
        /// Elements given.
        found: usize,
    },
    /// A table of the Program contradicts another.
    #[error("malformed program: {what}")]
    Program {
        /// What is wrong.
        what: String,
    },
    /// A step of the Program contradicts its tables or itself.
    #[error("malformed program: step {index} ({}): {what}", named(layer))]
    Step {
        /// Index into the Program's steps.
        index: usize,
        /// The layer that the step stems from.
        layer: String,
        /// What is wrong.
        what: String,
    },
    /// A step was asked for that cannot be done now.
    #[error("step {index} cannot run: {what}")]
    Order {
        /// Index asked for.
        index: usize,
        /// Why not.
        what: &'static str,
    },
    /// A launch of a CUDA Program contradicts its tables or itself.
    #[error("malformed program: launch {index} ({}) of batches up to {batch}: {what}", named(layer))]
    Launch {
        /// Largest batch of the variant.
        batch: usize,
        /// Index into the variant's launches.
        index: usize,
        /// The layer that the launch stems from.
        layer: String,
        /// What is wrong.
        what: String,
    },
    /// A batch of no samples.
    #[error("the batch is empty: give at least one sample")]
    EmptyBatch,
    /// A batch of more samples than the network was compiled for.
    #[error(
        "a batch of {batch} is too large: the network was compiled for {maximum}. Compile it for more, or run parts"
    )]
    BatchTooLarge {
        /// Samples asked for.
        batch: usize,
        /// Most samples.
        maximum: usize,
    },
    /// Not as many inputs as the Program has.
    #[error("the network has {expected} inputs, but {found} were given")]
    InputCount {
        /// Inputs of the Program.
        expected: usize,
        /// Inputs given.
        found: usize,
    },
    /// An input of the wrong length.
    #[error("input `{name}` needs {expected} values ({batch} samples of shape {shape:?}), but {found} were given")]
    InputLength {
        /// Name of the input.
        name: String,
        /// Shape of one sample.
        shape: Vec<usize>,
        /// Samples.
        batch: usize,
        /// Values needed.
        expected: usize,
        /// Values given.
        found: usize,
    },
    /// Memory that the system does not give.
    #[error("out of memory: {what} take {elements} values of 4 bytes; use a smaller batch or a smaller network")]
    Memory {
        /// What the memory was for.
        what: &'static str,
        /// Values asked for (the largest number where it does not fit).
        elements: usize,
    },
    /// Instructions that this processor doesn't have.
    #[error("this processor has no {name} instructions; leave the choice to the runtime")]
    Instructions {
        /// What was asked for.
        name: &'static str,
    },
    /// A number of threads that makes no sense or that the system does not give.
    #[error("cannot run on {count} threads: {why}")]
    Threads {
        /// Threads asked for.
        count: usize,
        /// Why not.
        why: String,
    },
    /// A file of packed weights cannot be read or written.
    #[error("packed weights {file}: {problem}")]
    WeightsFile {
        /// The file.
        file: String,
        /// What is wrong, and the way out.
        problem: String,
    },
    /// The weights were packed for another Program.
    #[error(
        "the weights were packed for `{found_network}` with the table {found}, and the program `{network}` has the table \
         {expected}: pack the checkpoint for this program"
    )]
    WeightsId {
        /// Name of the Program.
        network: String,
        /// Id in the Program.
        expected: String,
        /// Name of the network that the weights were packed for.
        found_network: String,
        /// Id in the weights.
        found: String,
    },
    /// The weights were packed for another target.
    #[error(
        "the weights were packed for the target `{found}`, and the program `{network}` is for `{expected}`: pack the checkpoint \
         with `kwc compile --target {expected} --weights`"
    )]
    WeightsTarget {
        /// Name of the Program.
        network: String,
        /// Target of the Program.
        expected: &'static str,
        /// Target that the weights were packed for.
        found: &'static str,
    },
    /// On a CUDA device.
    #[cfg(feature = "cuda")]
    #[error(transparent)]
    Cuda(Box<crate::cuda::Error>),
}

#[cfg(feature = "cuda")]
impl From<crate::cuda::Error> for Error {
    fn from(error: crate::cuda::Error) -> Self {
        Self::Cuda(Box::new(error))
    }
}

/// A layer by its path; not all have one.
pub(crate) fn named(layer: &str) -> String {
    if layer.is_empty() { "a layer without a name".to_owned() } else { format!("layer `{layer}`") }
}
