//! Where volumes come from: StorageClass, VolumeAttributesClass, CSIDriver, CSINode, CSIStorageCapacity, VolumeAttachment.
//!
//! - `class.rs`: the two classes.
//! - `driver.rs`: what drivers say of themselves: CSIDriver, CSINode, CSIStorageCapacity.
//! - `attachment.rs`: VolumeAttachment.

mod attachment;
mod class;
mod driver;

pub(super) use attachment::VOLUME_ATTACHMENT;
pub(super) use class::{STORAGE_CLASS, VOLUME_ATTRIBUTES_CLASS};
pub(super) use driver::{CSI_DRIVER, CSI_NODE, CSI_STORAGE_CAPACITY};

use super::field::Field;
use super::names;
use crate::error::FieldError;

const MAX_DRIVER_NAME_BYTES: usize = 63;

/// A field that names a driver.
fn driver_name(name: &Field<'_, '_>) {
    if !name.required() {
        return;
    }
    if name.len() > MAX_DRIVER_NAME_BYTES {
        name.report(FieldError::too_long(name.path(), MAX_DRIVER_NAME_BYTES));
    }
    name.named(|name| names::dns_subdomain(&name.to_lowercase()));
}
