//! The rules of shapes: what an operation takes, and what shape its result has.
//!
//! Lowering computes shapes with these rules, and [`super::check`] holds every layer of a network against them again.

use crate::diagnostic::Code;
use crate::ir::{ChannelOrder, Conv, Linear, Op, Pool, Shape};
use crate::partition::MAX_ELEMENTS;

/// Why an operation can't take its inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// What kind of error.
    pub code: Code,
    /// What is wrong.
    pub message: String,
    /// A way out.
    pub hint: String,
}

impl Misfit {
    fn new(code: Code, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: hint.into() }
    }
}

/// Product of sizes, if it is no larger than a tensor may be.
#[must_use]
pub fn elements(sizes: impl IntoIterator<Item = usize>) -> Option<usize> {
    let product = sizes.into_iter().try_fold(1usize, usize::checked_mul)?;
    (product <= MAX_ELEMENTS).then_some(product)
}

/// Shape of an operation's result, for inputs of these shapes. A [`Op::GlobalAverage`] gives a vector here; see
/// [`kept_average`].
///
/// # Errors
/// Why the operation can't take these inputs.
pub fn result_shape(op: &Op, inputs: &[&Shape]) -> Result<Shape, Misfit> {
    let shape = match (op, inputs) {
        (Op::Add, [first, rest @ ..]) if !rest.is_empty() => add(first, rest),
        (Op::Concat, [first, rest @ ..]) if !rest.is_empty() => concat(first, rest),
        (Op::Conv(conv), [input]) => convolve(conv, input),
        (Op::Linear(linear), [input]) => apply_linear(linear, input),
        (Op::Pool(pool), [input]) => apply_pool(pool, input),
        (Op::Upsample { factor }, [input]) => upsample(factor, input),
        (Op::Scale { parameter, shape }, [input]) => scale(parameter, shape, input),
        (Op::BatchNorm { .. } | Op::LayerNorm { .. } | Op::Activation(_), [input]) => Ok((*input).clone()),
        (Op::GlobalAverage, [input]) if input.is_vector() => Err(Misfit::new(
            Code::Shape,
            format!("a vector {input} has no positions to average over"),
            "remove this layer, or take a map or tokens",
        )),
        (Op::GlobalAverage, [input]) => Ok(Shape::vector(input.channels)),
        (Op::Flatten, [input]) => flatten(input),
        (
            Op::Add
            | Op::Concat
            | Op::Conv(_)
            | Op::Linear(_)
            | Op::Pool(_)
            | Op::Upsample { .. }
            | Op::Scale { .. }
            | Op::BatchNorm { .. }
            | Op::LayerNorm { .. }
            | Op::Activation(_)
            | Op::GlobalAverage
            | Op::Flatten,
            _,
        ) => Err(Misfit::new(
            Code::Shape,
            format!("an operation can't take {} values", inputs.len()),
            "only `add` and `concat` take several",
        )),
    }?;
    if elements(shape.dims()).is_none() {
        return Err(Misfit::new(
            Code::TooLarge,
            format!("the result would be {shape}"),
            format!("a tensor may have {MAX_ELEMENTS} elements; check the sizes"),
        ));
    }
    Ok(shape)
}

/// The average over all positions in the shape of its input, with one position.
#[must_use]
pub fn kept_average(input: &Shape) -> Shape {
    Shape { spatial: vec![1; input.spatial.len()], ..input.clone() }
}

fn check_map(input: &Shape, what: &str) -> Result<(), Misfit> {
    if input.is_map() && input.spatial.len() <= 3 {
        return Ok(());
    }
    let kind = if input.is_vector() { "a vector" } else { "tokens" };
    let hint = if what == "a convolution" {
        "a vector or tokens go through `linear`"
    } else {
        "use it before `flatten` or a global average"
    };
    Err(Misfit::new(
        Code::Shape,
        format!("{what} takes maps of 1, 2 or 3 dimensions, but its input is {kind} {input}"),
        hint,
    ))
}

fn check_rank(sizes: &[usize], name: &str, input: &Shape) -> Result<(), Misfit> {
    if sizes.len() == input.spatial.len() {
        return Ok(());
    }
    Err(Misfit::new(
        Code::Shape,
        format!(
            "`{name}` has {} sizes, but the input {input} has {} spatial dimensions",
            sizes.len(),
            input.spatial.len()
        ),
        "write one number for all dimensions, or one per dimension",
    ))
}

fn convolve(conv: &Conv, input: &Shape) -> Result<Shape, Misfit> {
    check_map(input, "a convolution")?;
    for (sizes, name) in
        [(&conv.kernel, "kernel"), (&conv.stride, "stride"), (&conv.padding, "padding"), (&conv.dilation, "dilation")]
    {
        check_rank(sizes, name, input)?;
    }
    check_channels(conv.in_channels, input)?;
    for (channels, what) in [(conv.in_channels, "input"), (conv.out_channels, "output")] {
        if conv.groups == 0 || !channels.is_multiple_of(conv.groups) {
            return Err(Misfit::new(
                Code::Shape,
                format!("{channels} {what} channels can't be divided into {} groups", conv.groups),
                "`groups` divides the input's channels and `out`; `groups: depthwise` is one per input channel",
            ));
        }
    }
    let group = conv.in_channels / conv.groups;
    check_weight([conv.out_channels, group].into_iter().chain(conv.kernel.iter().copied()))?;
    let windows = conv.kernel.iter().zip(&conv.dilation).zip(&conv.stride).zip(&conv.padding);
    let windows = windows.map(|(((kernel, dilation), stride), padding)| Window {
        kernel: *kernel,
        dilation: *dilation,
        stride: *stride,
        padding: *padding,
    });
    Ok(Shape::map(conv.out_channels, slide(windows, input)?))
}

fn check_channels(expected: usize, input: &Shape) -> Result<(), Misfit> {
    if expected == input.channels && expected > 0 {
        return Ok(());
    }
    Err(Misfit::new(
        Code::Shape,
        format!("a layer for {expected} channels can't take {input}"),
        "the input's channel count decides",
    ))
}

fn check_weight(sizes: impl Iterator<Item = usize>) -> Result<(), Misfit> {
    let sizes: Vec<usize> = sizes.collect();
    if sizes.contains(&0) {
        return Err(Misfit::new(
            Code::OutOfRange,
            format!("a weight of shape {sizes:?} is empty"),
            "sizes are at least 1",
        ));
    }
    if elements(sizes.iter().copied()).is_none() {
        return Err(Misfit::new(
            Code::TooLarge,
            format!("the weight would be {sizes:?}"),
            format!("a tensor may have {MAX_ELEMENTS} elements; check channels and kernel"),
        ));
    }
    Ok(())
}

/// A window in one dimension.
struct Window {
    kernel: usize,
    dilation: usize,
    stride: usize,
    padding: usize,
}

/// `floor((size + 2 padding - dilation (kernel - 1) - 1) / stride) + 1` in every dimension.
fn slide(windows: impl Iterator<Item = Window>, input: &Shape) -> Result<Vec<usize>, Misfit> {
    let mut sizes = Vec::new();
    for (window, &size) in windows.zip(&input.spatial) {
        let Window { kernel, dilation, stride, padding } = window;
        if kernel == 0 || dilation == 0 || stride == 0 {
            return Err(Misfit::new(
                Code::OutOfRange,
                "kernel, stride and dilation are at least 1",
                "write a whole number above 0",
            ));
        }
        let extent = dilation.checked_mul(kernel - 1).and_then(|e| e.checked_add(1));
        let padded = padding.checked_mul(2).and_then(|p| p.checked_add(size));
        let (Some(extent), Some(padded)) = (extent, padded) else {
            return Err(Misfit::new(Code::TooLarge, "the window is too large", "check kernel, dilation and padding"));
        };
        let Some(room) = padded.checked_sub(extent) else {
            return Err(Misfit::new(
                Code::Shape,
                format!("a window of {extent} doesn't fit into {input} with padding {padding}"),
                "use a smaller kernel or dilation, or more padding",
            ));
        };
        sizes.push(room / stride + 1);
    }
    Ok(sizes)
}

fn apply_linear(linear: &Linear, input: &Shape) -> Result<Shape, Misfit> {
    check_channels(linear.in_channels, input)?;
    check_weight([linear.out_channels, linear.in_channels].into_iter())?;
    Ok(input.with_channels(linear.out_channels))
}

fn apply_pool(pool: &Pool, input: &Shape) -> Result<Shape, Misfit> {
    check_map(input, "pooling")?;
    for (sizes, name) in [(&pool.kernel, "kernel"), (&pool.stride, "stride"), (&pool.padding, "padding")] {
        check_rank(sizes, name, input)?;
    }
    // Otherwise a window could lie in the padding altogether.
    if let Some((kernel, padding)) = pool.kernel.iter().zip(&pool.padding).find(|&(k, p)| *p > *k / 2) {
        return Err(Misfit::new(
            Code::OutOfRange,
            format!("padding {padding} is more than half of the window {kernel}"),
            format!("at most {} is possible here", kernel / 2),
        ));
    }
    let windows = pool.kernel.iter().zip(&pool.stride).zip(&pool.padding);
    let windows = windows.map(|((kernel, stride), padding)| Window {
        kernel: *kernel,
        dilation: 1,
        stride: *stride,
        padding: *padding,
    });
    Ok(Shape::map(input.channels, slide(windows, input)?))
}

fn upsample(factor: &[usize], input: &Shape) -> Result<Shape, Misfit> {
    check_map(input, "upsampling")?;
    check_rank(factor, "factor", input)?;
    let sizes = input.spatial.iter().zip(factor).map(|(size, factor)| size.checked_mul(*factor).filter(|s| *s > 0));
    match sizes.collect() {
        Some(spatial) => Ok(Shape::map(input.channels, spatial)),
        None => Err(Misfit::new(Code::OutOfRange, "this factor is out of range", "write a whole number from 1")),
    }
}

fn scale(parameter: &str, shape: &[usize], input: &Shape) -> Result<Shape, Misfit> {
    if elements(shape.iter().copied()) == Some(input.channels) {
        return Ok(input.clone());
    }
    Err(Misfit::new(
        Code::Shape,
        format!("`{parameter}` of shape {shape:?} doesn't have one element for each of {} channels", input.channels),
        "for example `shape: [1, C, 1, 1]`, where `C` stands for the channel count",
    ))
}

fn flatten(input: &Shape) -> Result<Shape, Misfit> {
    match elements(input.dims()) {
        Some(elements) => Ok(Shape::vector(elements)),
        None => Err(Misfit::new(Code::TooLarge, format!("{input} is too large"), "check the sizes")),
    }
}

fn add(first: &Shape, rest: &[&Shape]) -> Result<Shape, Misfit> {
    match rest.iter().find(|shape| **shape != first) {
        None => Ok(first.clone()),
        Some(other) => Err(Misfit::new(
            Code::Shape,
            format!("{first} and {other}{} can't be added", kinds(first, other)),
            "the shapes must be equal; a `conv` of kernel 1 changes channels, its `stride` or a pool changes sizes",
        )),
    }
}

fn concat(first: &Shape, rest: &[&Shape]) -> Result<Shape, Misfit> {
    let mut channels = first.channels;
    for other in rest {
        if other.spatial != first.spatial || other.order != first.order {
            return Err(Misfit::new(
                Code::Shape,
                format!("{first} and {other}{} can't be joined along channels", kinds(first, other)),
                "all sizes but the channels must be equal",
            ));
        }
        channels = channels.saturating_add(other.channels);
    }
    Ok(first.with_channels(channels))
}

/// Says what is what, where two shapes look alike.
const fn kinds(first: &Shape, other: &Shape) -> &'static str {
    match (first.order, other.order) {
        (ChannelOrder::First, ChannelOrder::Last) => " (a map and tokens)",
        (ChannelOrder::Last, ChannelOrder::First) => " (tokens and a map)",
        (ChannelOrder::First, ChannelOrder::First) | (ChannelOrder::Last, ChannelOrder::Last) => "",
    }
}
