//! Images as a network's input: decoding, resizing, cropping and normalising, as torchvision does.
//!
//! An image is made grey or RGB first (transparency is dropped, and grey is `0.299 R + 0.587 G + 0.114 B`, as Pillow does),
//! then resized, cropped to the input's size around its centre, divided by 255 and normalised. EXIF orientation is ignored,
//! as torchvision ignores it.

use std::io::BufReader;
use std::path::Path;

use image::imageops::FilterType;
use image::{ColorType, DynamicImage, ImageError, ImageFormat, ImageReader, Limits, Rgb};
use kwc_compiler::folder::{open, reason};
use kwc_compiler::ir::{self, Interpolation, Network, Resize};

use crate::failure::Failure;

/// Longest side of an image, in pixels.
const MAX_SIDE: u32 = 1 << 15;
/// Bytes that decoding one image may take.
const MAX_DECODED: u64 = 256 << 20;
/// Most pixels of a resized image, and of what stands between its two passes.
const MAX_RESIZED: u64 = 1 << 25;

/// How images become the input of one network.
#[derive(Debug)]
pub(crate) struct Preparation {
    image: ir::Image,
    channels: Channels,
    height: usize,
    width: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Channels {
    Grey,
    Rgb,
}

impl Preparation {
    /// How images become the input of this network.
    ///
    /// # Errors
    /// If the spec doesn't say it, or the network's inputs aren't one image.
    pub(crate) fn of(network: &Network) -> Result<Self, Failure> {
        let Some(image) = &network.image else {
            return Err(Failure::input(format!(
                "the spec of `{}` doesn't say how an image becomes its input",
                network.name
            ))
            .hint(
                "give it an `image:` section with `resize`, `mean` and `std`, or give the input as a .safetensors file",
            ));
        };
        let [input] = network.inputs.as_slice() else {
            return Err(Failure::input(format!(
                "`{}` has {} inputs, so an image is not enough",
                network.name,
                network.inputs.len()
            ))
            .hint("give the inputs as a .safetensors file"));
        };
        let shape = &network.value(input.value).shape;
        let (channels, size) = match (shape.dims().as_slice(), shape.is_map()) {
            (&[1, height, width], true) => (Channels::Grey, (height, width)),
            (&[3, height, width], true) => (Channels::Rgb, (height, width)),
            _ => {
                return Err(Failure::input(format!(
                    "the input `{}` has shape {shape}, which no image has",
                    input.name
                ))
                .hint("an image is [1, height, width] or [3, height, width]; give the input as a .safetensors file"));
            }
        };
        if image.mean.len() != shape.channels || image.std.len() != shape.channels {
            return Err(Failure::input(format!(
                "the spec's `image:` section has {} means and {} standard deviations for {} channels",
                image.mean.len(),
                image.std.len(),
                shape.channels
            )));
        }
        Ok(Self { image: image.clone(), channels, height: size.0, width: size.1 })
    }

    /// Elements of the input.
    pub(crate) fn elements(&self) -> usize {
        let channels = match self.channels {
            Channels::Grey => 1,
            Channels::Rgb => 3,
        };
        channels * self.height * self.width
    }

    /// Names of the classes; may be empty.
    pub(crate) fn labels(&self) -> &[String] {
        &self.image.labels
    }

    /// Reads an image file as the network's input, `[C, H, W]`.
    ///
    /// # Errors
    /// What is wrong with the file, without its name.
    pub(crate) fn read(&self, path: &Path) -> Result<Vec<f32>, String> {
        let image = decode(path)?;
        let image = match self.channels {
            Channels::Grey => DynamicImage::ImageLuma8(grey(image)),
            Channels::Rgb => DynamicImage::ImageRgb8(image.into_rgb8()),
        };
        let image = self.crop(&self.resize(image)?)?;
        Ok(self.normalise(image.as_bytes()))
    }

    fn resize(&self, image: DynamicImage) -> Result<DynamicImage, String> {
        let (old_width, old_height) = (u64::from(image.width()), u64::from(image.height()));
        let (width, height) = match self.image.resize {
            None => return Ok(image),
            Some(Resize::Exact { height, width }) => (width as u64, height as u64),
            // The longer side is truncated, as torchvision does.
            Some(Resize::Shorter(side)) if old_width <= old_height => {
                (side as u64, (side as u64).saturating_mul(old_height) / old_width.max(1))
            }
            Some(Resize::Shorter(side)) => ((side as u64).saturating_mul(old_width) / old_height.max(1), side as u64),
        };
        if (width, height) == (old_width, old_height) {
            return Ok(image);
        }
        let too_large =
            || format!("{old_width} x {old_height} pixels would be resized to {width} x {height}, which is too large");
        if width.max(old_width).saturating_mul(height) > MAX_RESIZED {
            return Err(too_large());
        }
        let (Ok(width), Ok(height)) = (u32::try_from(width), u32::try_from(height)) else { return Err(too_large()) };
        // Both filters widen when they shrink an image, as torchvision's do on images.
        let filter = match self.image.interpolation {
            Interpolation::Bilinear => FilterType::Triangle,
            Interpolation::Bicubic => FilterType::CatmullRom,
        };
        Ok(image.resize_exact(width, height, filter))
    }

    fn crop(&self, image: &DynamicImage) -> Result<DynamicImage, String> {
        let (width, height) = (image.width() as usize, image.height() as usize);
        if width < self.width || height < self.height {
            let resized = if self.image.resize.is_some() { " after resizing" } else { "" };
            return Err(format!(
                "{width} x {height} pixels{resized}, but the network takes {} x {}; set `resize` in the spec's `image:` section",
                self.width, self.height
            ));
        }
        let start = |length: usize, crop: usize| ((length - crop) as f64 / 2.0).round_ties_even() as u32;
        let (left, top) = (start(width, self.width), start(height, self.height));
        Ok(image.crop_imm(left, top, self.width as u32, self.height as u32))
    }

    /// From `[H, W, C]` bytes to `[C, H, W]`.
    fn normalise(&self, pixels: &[u8]) -> Vec<f32> {
        let channels = self.image.mean.len();
        let mut out = Vec::with_capacity(self.elements());
        for (channel, (mean, std)) in self.image.mean.iter().zip(&self.image.std).enumerate() {
            out.extend(pixels.iter().skip(channel).step_by(channels).map(|&x| (f32::from(x) / 255.0 - mean) / std));
        }
        out
    }
}

fn decode(path: &Path) -> Result<DynamicImage, String> {
    let file = open(path).map_err(|e| reason(&e))?;
    // The format is told by the content alone.
    let mut reader = ImageReader::new(BufReader::new(file)).with_guessed_format().map_err(|e| reason(&e))?;
    if !matches!(reader.format(), Some(ImageFormat::Png | ImageFormat::Jpeg)) {
        return Err("neither a PNG nor a JPEG image".to_owned());
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODED);
    reader.limits(limits);
    reader.decode().map_err(|e| match e {
        ImageError::Limits(_) => {
            let mebibytes = MAX_DECODED >> 20;
            format!("too large: at most {MAX_SIDE} pixels a side and {mebibytes} MiB of pixels are decoded")
        }
        ImageError::Decoding(_)
        | ImageError::Encoding(_)
        | ImageError::Parameter(_)
        | ImageError::Unsupported(_)
        | ImageError::IoError(_) => format!("can't be decoded: {e}"),
    })
}

fn grey(image: DynamicImage) -> image::GrayImage {
    let is_grey = matches!(image.color(), ColorType::L8 | ColorType::La8 | ColorType::L16 | ColorType::La16);
    if is_grey {
        return image.into_luma8();
    }
    let rgb = image.into_rgb8();
    let mut out = image::GrayImage::new(rgb.width(), rgb.height());
    for (to, from) in out.pixels_mut().zip(rgb.pixels()) {
        to.0 = [luma(*from)];
    }
    out
}

/// Pillow's fixed-point weights.
fn luma(pixel: Rgb<u8>) -> u8 {
    let [r, g, b] = pixel.0.map(u32::from);
    ((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16) as u8
}
