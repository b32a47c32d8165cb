//! The edges of a network: inputs, outputs, and how an image becomes the input.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::Lowering;
use super::eval::Sizes;
use super::expand::Names;
use crate::check::shapes::elements;
use crate::diagnostic::{Code, Diagnostic};
use crate::ir::{Image, Interpolation, Port, Resize, Shape, ValueId};
use crate::partition::MAX_ELEMENTS;
use crate::source::Span;
use crate::spec::{self, Expr, InputShape, Ratio, is_plain_name, shortened};

impl Lowering<'_, '_> {
    /// The inputs, as values.
    pub(super) fn inputs(&mut self) -> Vec<Port> {
        let spec = self.spec;
        let mut ports = Vec::new();
        for input in &spec.inputs {
            let shape = self.input_shape(&input.shape);
            let shape = shape.filter(|shape| {
                let fits = elements(shape.dims()).is_some();
                if !fits {
                    let message = format!("an input of shape {shape} is too large");
                    let hint = format!("a tensor may have {MAX_ELEMENTS} elements");
                    self.report(Diagnostic::new(Code::TooLarge, input.name.span, message).hint(hint));
                }
                fits
            });
            let value = self.add_value(shape, None);
            ports.push(Port { name: input.name.value.clone(), value });
        }
        ports
    }

    fn input_shape(&mut self, shape: &InputShape) -> Option<Shape> {
        let scope = Rc::clone(&self.globals);
        let mut size = |expr: &Expr| {
            let size = self.evaluator.count(expr, &scope, 1);
            self.take(size)
        };
        match shape {
            InputShape::Map { channels, spatial } => {
                let (channels, sizes) = (size(channels), spatial.iter().map(size).collect::<Vec<_>>());
                Some(Shape::map(channels?, sizes.into_iter().collect::<Option<_>>()?))
            }
            InputShape::Tokens { tokens, channels } => {
                let (tokens, channels) = (size(tokens), size(channels));
                Some(Shape::tokens(tokens?, channels?))
            }
            InputShape::Broken => None,
        }
    }

    /// The outputs: those that the spec names, or the result of the last layer.
    pub(super) fn outputs(&mut self, result: Option<ValueId>, names: &Names) -> Vec<Port> {
        let spec = self.spec;
        let Some(outputs) = &spec.outputs else {
            return result.map(|value| Port { name: "output".to_owned(), value }).into_iter().collect();
        };
        if self.stopped {
            return Vec::new();
        }
        let scope = Rc::clone(&self.globals);
        let mut ports: Vec<Port> = Vec::new();
        let mut taken = BTreeSet::new();
        for output in outputs {
            let name = self.evaluator.text(&output.name, &scope);
            let name = self.take(name);
            let value = self.named(&output.value, &scope, names);
            let (Some(name), Some(value)) = (name, value) else { continue };
            if !is_plain_name(&name) {
                let message = format!("`{}` can't be the name of an output", shortened(&name));
                self.report(Diagnostic::new(Code::WrongType, output.name.span, message).hint(spec::NAME_HINT));
            } else if !taken.insert(name.clone()) {
                let message = format!("there are two outputs `{name}`");
                let hint = "give one another name: `outputs: { name: value }`";
                self.report(Diagnostic::new(Code::Duplicate, output.name.span, message).hint(hint));
            } else {
                ports.push(Port { name, value });
            }
        }
        ports
    }

    /// How an image becomes the input, checked against it.
    pub(super) fn image(&mut self, image: &spec::Image, inputs: &[Port]) -> Option<Image> {
        let scope = Rc::clone(&self.globals);
        let resize = image.resize.as_ref().map(|expr| {
            let sizes = self.evaluator.sizes(expr, &scope, 1);
            self.take(sizes).and_then(|sizes| self.resize(sizes, expr.span))
        });
        let filters = [("bilinear", Interpolation::Bilinear), ("bicubic", Interpolation::Bicubic)];
        let interpolation = match &image.interpolation {
            None => Some(Interpolation::Bilinear),
            Some(template) => self.choice(Some(template), &scope, &filters),
        };
        let mut channels = |expr: Option<&Expr>| {
            let expr = expr?;
            let numbers = self.evaluator.numbers(expr, &scope);
            self.take(numbers).map(|n| (n, expr.span))
        };
        let (mean, std) = (channels(image.mean.as_ref()), channels(image.std.as_ref()));
        if let Some((std, span)) = &std
            && let Some(bad) = std.iter().find(|s| !s.is_positive())
        {
            let message = format!("a standard deviation is above 0, but this is {bad}");
            self.report(Diagnostic::new(Code::OutOfRange, *span, message).hint("pixels are divided by it"));
            return None;
        }
        let shape = self.image_input(image.span, inputs)?;
        let (mean, std, resize) = (mean?, std?, resize.map_or(Some(None), |r| r.map(Some))?);
        for (name, (numbers, span)) in [("mean", &mean), ("std", &std)] {
            if numbers.len() != shape.channels {
                let message = format!("`{name}` has {} numbers for {} channels", numbers.len(), shape.channels);
                self.report(Diagnostic::new(Code::Shape, *span, message).hint("write one number per channel"));
            }
        }
        if let (Some(resize), [height, width], Some(expr)) = (resize, shape.spatial.as_slice(), &image.resize) {
            let fits = match resize {
                Resize::Shorter(size) => size >= *height && size >= *width,
                Resize::Exact { height: rows, width: columns } => rows >= *height && columns >= *width,
            };
            if !fits {
                let message = format!("an image of this size can't be cropped to {height} x {width}");
                let hint = format!("resize to at least {}", height.max(width));
                self.report(Diagnostic::new(Code::OutOfRange, expr.span, message).hint(hint));
            }
        }
        #[expect(clippy::cast_possible_truncation, reason = "pixels are f32")]
        let single = |numbers: &[Ratio]| numbers.iter().map(|n| n.to_f64() as f32).collect();
        Some(Image {
            resize,
            interpolation: interpolation?,
            mean: single(&mean.0),
            std: single(&std.0),
            labels: image.labels.clone(),
        })
    }

    /// Labels name the classes of the first output, one by one.
    pub(super) fn check_labels(&mut self, image: &spec::Image, outputs: &[Port]) {
        let classes = outputs.first().and_then(|port| self.shape(port.value));
        let classes = classes.filter(|shape| shape.is_vector()).map(|shape| shape.channels);
        if let Some(classes) = classes
            && !image.labels.is_empty()
            && image.labels.len() != classes
        {
            let message = format!("`labels` names {} classes, but the output has {classes}", image.labels.len());
            let hint = "write one label per class, in their order";
            self.report(Diagnostic::new(Code::Shape, image.span, message).hint(hint));
        }
    }

    fn resize(&mut self, sizes: Sizes, span: Span) -> Option<Resize> {
        match sizes {
            Sizes::All(size) => Some(Resize::Shorter(size)),
            Sizes::Each(sizes) => match sizes.as_slice() {
                [height, width] => Some(Resize::Exact { height: *height, width: *width }),
                _ => {
                    let message = format!("`resize` is one number or two, not {}", sizes.len());
                    let hint = "for example `256`, or `[256, 256]` for height and width";
                    self.report(Diagnostic::new(Code::Shape, span, message).hint(hint));
                    None
                }
            },
        }
    }

    /// The shape of the one input that an image can become. `None` if there is none, which is reported, or if it is
    /// unknown.
    fn image_input(&mut self, span: Span, inputs: &[Port]) -> Option<Shape> {
        let [port] = inputs else {
            if !inputs.is_empty() {
                let message = format!("an image can't become {} inputs", inputs.len());
                let hint = "`image` is for networks with one input";
                self.report(Diagnostic::new(Code::Shape, span, message).hint(hint));
            }
            return None;
        };
        let shape = self.shape(port.value)?.clone();
        if shape.is_map() && shape.spatial.len() == 2 && matches!(shape.channels, 1 | 3) {
            return Some(shape);
        }
        let message = format!("an image can't become an input of shape {shape}");
        let hint = "the input must have `height` and `width`, and 1 or 3 channels";
        self.report(Diagnostic::new(Code::Shape, span, message).hint(hint));
        None
    }
}
