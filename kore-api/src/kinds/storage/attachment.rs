//! VolumeAttachment: a volume that is to be at a node.

use k8s_openapi::api::storage::v1::VolumeAttachment;

use super::driver_name;
use crate::error::FieldError;
use crate::kinds::entry::{AGE, ANYTHING, Entry, NAME, Rules, Title};
use crate::kinds::field::Field;
use crate::kinds::names;
use crate::kinds::volumes::volume_spec;
use crate::object::ResourceType;

const MAX_METADATA_BYTES: usize = 256 * 1024;
const MAX_MESSAGE_BYTES: usize = 1024;

pub(crate) static VOLUME_ATTACHMENT: Entry = Entry {
    unconditional_update: false,
    columns: &[
        NAME,
        Title("Attacher", "string", "What attaches it.", 0),
        Title("PV", "string", "The volume.", 0),
        Title("Node", "string", "The node.", 0),
        Title("Attached", "boolean", "Whether it is there.", 0),
        AGE,
    ],
    rules: Rules {
        always,
        change: |new, old| {
            new.get("spec").immutable(&old.get("spec"));
        },
        status: |attachment, _| status(&attachment.get("status")),
        ..ANYTHING
    },
    cells: |row| {
        vec![
            row.name(),
            row.text("/spec/attacher").into(),
            row.text("/spec/source/persistentVolumeName").into(),
            row.text("/spec/nodeName").into(),
            (row.at("/status/attached") == true).into(),
            row.age(),
        ]
    },
    ..Entry::of(ResourceType::of::<VolumeAttachment>)
};

fn always(attachment: &Field<'_, '_>) {
    let spec = attachment.get("spec");
    driver_name(&spec.get("attacher"));
    let source = spec.get("source");
    let (inline, name) = (source.get("inlineVolumeSpec"), source.get("persistentVolumeName"));
    let one = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    match (inline.is_set(), name.is_set()) {
        (false, false) => source.missing(one),
        (true, true) => source.forbidden(one),
        (false, true) if name.text().is_empty() => name.missing("must specify non empty persistentVolumeName"),
        (false, true) => drop(name.named(names::dns_subdomain)),
        (true, false) => volume_spec(&inline, true),
    }
    let node = spec.get("nodeName");
    node.named_as(node.text(), names::dns_subdomain);
}

fn status(status: &Field<'_, '_>) {
    let notes = status.get("attachmentMetadata");
    let bytes: usize = notes.entries().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > MAX_METADATA_BYTES {
        notes.report(FieldError::too_long(notes.path(), MAX_METADATA_BYTES));
    }
    for error in ["attachError", "detachError"] {
        let error = status.get(error);
        let message = error.get("message");
        if message.len() > MAX_MESSAGE_BYTES {
            message.report(FieldError::too_long(message.path(), MAX_MESSAGE_BYTES));
        }
        error.get("errorCode").within(0, i64::from(i32::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{cells, errors, errors_of_change, errors_of_status};
    use serde_json::json;

    #[test]
    fn what_an_attachment_may_not_say() {
        let good =
            json!({"spec": {"attacher": "disk.example.com", "nodeName": "n", "source": {"persistentVolumeName": "v"}}});
        assert_eq!(errors(&VOLUME_ATTACHMENT, &good), [""; 0]);
        assert_eq!(cells(&VOLUME_ATTACHMENT, &good)[2..5], [json!("v"), json!("n"), json!(false)]);
        assert_eq!(
            errors(&VOLUME_ATTACHMENT, &json!({"spec": {"nodeName": "n", "source": {}}})),
            [
                "spec.attacher: Required value",
                "spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName",
            ]
        );
        let moved =
            json!({"spec": {"attacher": "disk.example.com", "nodeName": "m", "source": {"persistentVolumeName": "v"}}});
        assert_eq!(errors_of_change(&VOLUME_ATTACHMENT, &moved, &good).len(), 1);
        let failed =
            json!({"status": {"attached": false, "attachError": {"message": "x".repeat(1025), "errorCode": -1}}});
        assert_eq!(errors_of_status(&VOLUME_ATTACHMENT, &failed, &good).len(), 2);
    }
}
