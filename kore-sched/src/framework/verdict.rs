//! How a plugin says no.

use std::borrow::Cow;

/// What a plugin says of a pod, or of a pod on a node: fine, or why not.
pub type Verdict = Result<(), Rejection>;

/// What kind of no it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// The pod does not fit now. Evicting other pods may change that.
    Unschedulable,
    /// The pod does not fit, and evicting other pods would not change that.
    Unresolvable,
    /// The pod waits for something outside of the cluster's state that the plugin itself asked for. When it comes, the pod
    /// is tried at once, without back-off.
    Pending,
    /// The plugin could not tell. The pod is tried again after its back-off.
    Error,
}

/// A no, with its reasons.
///
/// A reason is counted over nodes and shown to users in `0/5 nodes are available: 3 Insufficient cpu, …`: it should read well
/// after a number, and should not name the node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rejection {
    /// What kind of no it is.
    pub code: Code,
    reason: Cow<'static, str>,
    more: Vec<Cow<'static, str>>,
}

impl Rejection {
    /// The pod does not fit now.
    pub fn unschedulable(reason: impl Into<Cow<'static, str>>) -> Rejection {
        Rejection::new(Code::Unschedulable, reason)
    }

    /// The pod does not fit, and evicting pods would not help.
    pub fn unresolvable(reason: impl Into<Cow<'static, str>>) -> Rejection {
        Rejection::new(Code::Unresolvable, reason)
    }

    /// The pod waits for something the plugin asked for.
    pub fn pending(reason: impl Into<Cow<'static, str>>) -> Rejection {
        Rejection::new(Code::Pending, reason)
    }

    /// The plugin could not tell.
    pub fn error(reason: impl Into<Cow<'static, str>>) -> Rejection {
        Rejection::new(Code::Error, reason)
    }

    /// A no of that kind.
    pub fn new(code: Code, reason: impl Into<Cow<'static, str>>) -> Rejection {
        Rejection { code, reason: reason.into(), more: Vec::new() }
    }

    /// The same with one more reason.
    #[must_use]
    pub fn and(mut self, reason: impl Into<Cow<'static, str>>) -> Rejection {
        self.more.push(reason.into());
        self
    }

    /// The reasons, in the order in which they were given.
    pub fn reasons(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&*self.reason).chain(self.more.iter().map(|reason| &**reason))
    }

    /// All reasons in one line.
    pub fn message(&self) -> String {
        self.reasons().collect::<Vec<_>>().join(", ")
    }
}
