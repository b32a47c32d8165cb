//! A writer of lines with blocks.

/// Text in the making.
#[derive(Debug, Default)]
pub(super) struct Writer {
    text: String,
    depth: usize,
}

impl Writer {
    /// A line at the current depth.
    pub(super) fn line(&mut self, line: &str) {
        if !line.is_empty() {
            for _ in 0..self.depth {
                self.text.push_str("  ");
            }
            self.text.push_str(line);
        }
        self.text.push('\n');
    }

    /// An empty line.
    pub(super) fn blank(&mut self) {
        self.line("");
    }

    /// Lines as they are.
    pub(super) fn text(&mut self, text: &str) {
        self.text.push_str(text.trim_end());
        self.text.push('\n');
    }

    /// A block: `head {`, what `body` writes one level deeper, and `tail`.
    pub(super) fn block(&mut self, head: &str, tail: &str, body: impl FnOnce(&mut Self)) {
        self.line(&format!("{head} {{"));
        self.depth += 1;
        body(self);
        self.depth -= 1;
        self.line(tail);
    }

    /// Number of the line that comes next, counted from 1.
    pub(super) fn next_line(&self) -> usize {
        self.text.bytes().filter(|&byte| byte == b'\n').count() + 1
    }

    /// All of it.
    pub(super) fn finish(self) -> String {
        self.text
    }
}
