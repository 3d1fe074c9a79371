//! What a person sees while things become available: lines that update in place on a terminal, else plain lines, each once.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::path::Path;

use tracing_subscriber::filter::{EnvFilter, LevelFilter};

/// What the parts have to say goes to standard error: errors, or what `RUST_LOG` asks for.
pub(crate) fn log() {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::ERROR.into()).from_env_lossy();
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
}

/// Prints a line. That nobody reads it any longer is no reason for a cluster to end.
pub(crate) fn say(line: impl Display) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// A path as a shell takes it.
pub(crate) fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

/// A few lines of status.
#[derive(Debug)]
pub(crate) struct Progress {
    in_place: bool,
    /// What is shown now.
    shown: Vec<String>,
}

impl Progress {
    /// Nothing shown yet.
    pub(crate) fn new() -> Self {
        Self { in_place: std::io::stdout().is_terminal(), shown: Vec::new() }
    }

    /// Shows these lines in place of the last ones.
    pub(crate) fn update(&mut self, lines: Vec<String>) {
        if lines == self.shown {
            return;
        }
        let mut out = std::io::stdout().lock();
        let mut drawn = String::new();
        if self.in_place {
            if !self.shown.is_empty() {
                drawn += &format!("\x1b[{}A\x1b[J", self.shown.len());
            }
            lines.iter().for_each(|line| drawn += &format!("{line}\n"));
        } else {
            let new = lines.iter().filter(|line| !self.shown.contains(line));
            new.for_each(|line| drawn += &format!("{line}\n"));
        }
        // Nobody reads any longer: nothing to be done about it.
        let _ = out.write_all(drawn.as_bytes()).and_then(|()| out.flush());
        self.shown = lines;
    }

    /// Leaves what is shown and goes on below it.
    pub(crate) fn finish(&mut self) {
        self.shown.clear();
    }
}
