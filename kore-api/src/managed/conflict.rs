//! What is applied and changes what others own, in upstream's words.

use super::element::Element;
use super::entry::{Manager, Operation};
use super::set::path_text;
use crate::error::{Reason, Status, StatusCause, StatusDetails};

/// A field that somebody else owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    pub(crate) manager: Manager,
    pub(crate) path: Vec<Element>,
}

impl Conflict {
    /// The owner: `"kubectl" with subresource "scale" using apps/v1`.
    fn owner(&self) -> String {
        let manager = &self.manager;
        let mut text = format!("{:?}", manager.name);
        if !manager.subresource.is_empty() {
            text.push_str(&format!(" with subresource {:?}", manager.subresource));
        }
        if manager.operation == Operation::Update {
            text.push_str(&format!(" using {}", manager.version));
        }
        text
    }
}

/// What a client is told whose configuration changes what others own.
pub(crate) fn conflict_status(conflicts: &[Conflict]) -> Status {
    let named: Vec<(String, Vec<Element>)> =
        conflicts.iter().map(|conflict| (conflict.owner(), conflict.path.clone())).collect();
    let plural = if conflicts.len() == 1 { "" } else { "s" };
    let message = format!("Apply failed with {} conflict{plural}: {}", conflicts.len(), conflicts_text(&named));
    let causes = named.iter().map(|(owner, path)| StatusCause {
        reason: "FieldManagerConflict".to_owned(),
        message: format!("conflict with {owner}"),
        field: path_text(path),
    });
    let details = StatusDetails { causes: causes.collect(), ..StatusDetails::default() };
    Status { details: Some(details), ..Status::new(Reason::Conflict, message) }
}

/// Conflicts as clients show them: one in a line, more of them by owner.
pub(crate) fn conflicts_text(conflicts: &[(String, Vec<Element>)]) -> String {
    if let [(owner, path)] = conflicts {
        return format!("conflict with {owner}: {}", path_text(path));
    }
    let mut owners: Vec<&String> = conflicts.iter().map(|(owner, _)| owner).collect();
    owners.sort_unstable();
    owners.dedup();
    let mut lines: Vec<String> = Vec::new();
    for owner in owners {
        lines.push(format!("conflicts with {owner}:"));
        let paths = conflicts.iter().filter(|(other, _)| other == owner);
        lines.extend(paths.map(|(_, path)| format!("- {}", path_text(path))));
    }
    lines.join("\n")
}
