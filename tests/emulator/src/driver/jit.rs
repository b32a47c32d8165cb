//! The options of module loading: the buffers in which a program gets the messages.

use super::arguments::{Buffer, In, Pointers};
use super::errors::{Answer, Code};

/// `CU_JIT_INFO_LOG_BUFFER` and its size, `CU_JIT_ERROR_LOG_BUFFER` and its size.
const INFO: u32 = 3;
const INFO_SIZE: u32 = 4;
const ERROR: u32 = 5;
const ERROR_SIZE: u32 = 6;
/// One past the options of CUDA 13.
const OPTIONS: u32 = 36;
/// The value that `CU_JIT_WALL_TIME` gets is an f32, in place of the pointer.
const WALL_TIME: u32 = 2;

/// The buffers for messages.
#[derive(Debug)]
pub struct Logs {
    info: Log,
    error: Log,
    wall_time: Option<usize>,
    values: Pointers,
}

#[derive(Debug, Default)]
struct Log {
    buffer: Option<usize>,
    /// Where its size is among the values, and the size.
    size: Option<(usize, usize)>,
}

impl Logs {
    /// Reads the options. All but the logs are for a compiler, and without effect.
    ///
    /// # Errors
    ///
    /// An array is null, or there is no such option.
    pub fn new(count: u32, options: In<u32>, values: Pointers) -> Answer<Self> {
        let mut logs = Self { info: Log::default(), error: Log::default(), wall_time: None, values };
        for index in 0..count as usize {
            let value = values.at(index)?;
            match options.at(index)? {
                WALL_TIME => logs.wall_time = Some(index),
                INFO => logs.info.buffer = Some(value),
                // Numbers are in the values as they are, in 32 bits.
                INFO_SIZE => logs.info.size = Some((index, value & 0xffff_ffff)),
                ERROR => logs.error.buffer = Some(value),
                ERROR_SIZE => logs.error.size = Some((index, value & 0xffff_ffff)),
                option if option < OPTIONS => {}
                other => return Err(Code::InvalidValue.because(format!("there is no option {other} of loading"))),
            }
        }
        Ok(logs)
    }

    /// Writes the message of what failed, if anything did. Sizes become those used.
    pub fn write(&self, error: &str) {
        for (log, text) in [(&self.info, ""), (&self.error, error)] {
            if let (Some(buffer), Some((index, size))) = (log.buffer, log.size) {
                self.values.set_number(index, Buffer::at(buffer).write(text, size));
            }
        }
        if let Some(index) = self.wall_time {
            self.values.set_number(index, 0);
        }
    }
}
