//! BIRD's line protocol: `NNNN-text` for a line that others follow, ` text` for another one with the same code, `NNNN text`
//! for the last.

/// A reply in the making.
#[derive(Debug, Default)]
pub(super) struct Reply {
    text: String,
    code: Option<u16>,
}

impl Reply {
    /// A line that others follow.
    pub(super) fn line(&mut self, code: u16, text: &str) {
        if self.code.replace(code) == Some(code) {
            self.text.push(' ');
        } else {
            self.text.push_str(&format!("{code:04}-"));
        }
        self.push(text);
    }

    /// The last line.
    pub(super) fn end(&mut self, code: u16, text: &str) {
        self.code = None;
        self.text.push_str(&format!("{code:04} "));
        self.push(text);
    }

    /// What there is so far, to be sent. The rest goes on as if it were still there.
    pub(super) fn take(&mut self) -> String {
        std::mem::take(&mut self.text)
    }

    /// A neighbour's words may be in it: they make no lines of their own.
    fn push(&mut self, text: &str) {
        self.text.extend(text.chars().map(|c| if c.is_control() && c != '\t' { ' ' } else { c }));
        self.text.push('\n');
    }
}
