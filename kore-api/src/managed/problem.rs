//! What keeps a value from being owned: it does not have the form of its type.

use std::fmt;

use super::element::Element;

/// One thing wrong with a value, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// From the inside out.
    path: Vec<String>,
    message: String,
}

impl Problem {
    pub(crate) fn here(message: impl Into<String>) -> Self {
        Self { path: Vec::new(), message: message.into() }
    }

    /// As seen from the parent.
    pub(crate) fn within(mut self, element: &Element) -> Self {
        self.path.push(element.to_string());
        self
    }
}

/// `.spec.ports[0]: what is wrong`.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.iter().rev().try_for_each(|step| f.write_str(step))?;
        if !self.path.is_empty() {
            f.write_str(": ")?;
        }
        f.write_str(&self.message)
    }
}
