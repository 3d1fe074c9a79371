//! The object model: what is stored, watched, cached and handed around.
//!
//! - [`Object`] (`object.rs`): one immutable object at one revision, shared by everybody in the process.
//! - [`ObjectKey`] (`key.rs`): namespace and name.
//! - [`Kind`], [`ResourceType`], [`Scope`] (`kind.rs`): which resource a Rust type or a name on the wire stands for.
//! - [`View`] (`view.rs`): a typed view of an object, decoded once for all who hold it.
//!
//! Nothing here knows a server, a store or a client.

mod key;
mod kind;
#[expect(clippy::module_inception, reason = "the object model's one central type")]
mod object;
mod view;

pub use key::ObjectKey;
pub use kind::{Kind, ResourceType, Scope};
pub(crate) use object::metadata_mut;
pub use object::{MalformedObject, Object, OwnerReference};
pub use view::{UndecodableView, View};
