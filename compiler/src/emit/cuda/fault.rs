//! NVRTC's messages about emitted kernels: which kernel, which layers, which line.

use std::ops::Range;

use super::SOURCE_FILE;
use crate::plan::cuda::Planned;

/// An error in emitted source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong, in NVRTC's words.
    pub message: String,
    /// The line that it is about, counted from 1, and its text. What is found after the source was read has none.
    pub line: Option<(usize, String)>,
    /// The kernel that it is in, or that device code was instantiated for.
    pub kernel: Option<Stem>,
}

/// Where a kernel comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stem {
    /// Its entry point.
    pub symbol: String,
    /// The layers that launch it, in order.
    pub layers: Vec<String>,
}

/// The errors in a log of NVRTC. `lines` are those of each kernel in `source`.
#[must_use]
pub fn faults(log: &str, source: &str, lines: &[Range<usize>], planned: &Planned) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut rest = log.lines().peekable();
    while let Some(first) = rest.next() {
        let Some((line, message)) = head(first) else { continue };
        let mut mentioned: Vec<usize> = line.into_iter().collect();
        // What follows up to the next message or an empty line belongs to this one: the place, and what led there.
        let mut block = vec![first];
        while let Some(more) = rest.next_if(|next| !next.trim().is_empty() && head(next).is_none()) {
            mentioned.extend(instantiated_at(more));
            block.push(more);
        }
        let index = mentioned
            .iter()
            .find_map(|line| lines.iter().position(|range| range.contains(line)))
            .or_else(|| planned.program.kernels.iter().position(|k| block.iter().any(|text| names(text, &k.symbol))));
        let stem = |index: usize| {
            let symbol = planned.program.kernels.get(index)?.symbol.to_string();
            let layers = super::layers_of(planned, index).into_iter().map(str::to_owned).collect();
            Some(Stem { symbol, layers })
        };
        let text = |line: usize| Some((line, source.lines().nth(line.checked_sub(1)?)?.to_owned()));
        faults.push(Fault { message: message.to_owned(), line: line.and_then(text), kernel: index.and_then(stem) });
    }
    faults
}

/// `kernels.cu(12): error: what` or, of the assembler, `ptxas error : what`: the line and what is wrong.
fn head(text: &str) -> Option<(Option<usize>, &str)> {
    if let Some(rest) = text.strip_prefix(SOURCE_FILE) {
        let (line, message) = rest.strip_prefix('(')?.split_once("):")?;
        let message = message.trim_start();
        let message = message.strip_prefix("catastrophic ").unwrap_or(message).strip_prefix("error")?;
        let (_number, message) = message.split_once(": ")?;
        return Some((line.parse().ok(), message));
    }
    let (_, message) = text.strip_prefix("ptxas")?.split_once("error")?;
    Some((None, message.trim_start_matches([' ', ':'])))
}

/// `... at line 345`: where a template was instantiated.
fn instantiated_at(text: &str) -> Option<usize> {
    let (_, number) = text.rsplit_once("at line ")?;
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// Whether a text has a word.
fn names(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|part| part == word)
}
