//! Who controls an object: the rules by which a controller adopts orphans and releases what its selector no longer
//! matches. Upstream: controller references, `OwnerReference.controller`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kore_api::selector::LabelSelector;

/// What a would-be owner has to do about an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It controls the object, and keeps it.
    Keep,
    /// Nobody controls the object and the selector matches: it becomes its controller.
    Adopt,
    /// It controls the object, but the selector matches no longer: it lets go.
    Release,
    /// None of its business.
    Ignore,
}

/// The rule: `owner` selects by `selector`; `object` is in the same namespace.
pub(crate) fn claim(owner: &ObjectMeta, selector: &LabelSelector, object: &ObjectMeta) -> Claim {
    let deleting = owner.deletion_timestamp.is_some();
    let matches = selector.matches_labels(object.labels.as_ref());
    match controller_of(object) {
        Some(reference) if Some(&reference.uid) != owner.uid.as_ref() => Claim::Ignore,
        Some(_) if matches => Claim::Keep,
        Some(_) if deleting => Claim::Ignore,
        Some(_) => Claim::Release,
        None if deleting || !matches || object.deletion_timestamp.is_some() => Claim::Ignore,
        None => Claim::Adopt,
    }
}

/// The reference to the object's controller: the one owner, if any, that is marked so.
pub(crate) fn controller_of(object: &ObjectMeta) -> Option<&OwnerReference> {
    object.owner_references.iter().flatten().find(|reference| reference.controller == Some(true))
}

/// Whether `object` is controlled by the object with this uid.
pub(crate) fn is_controlled_by(object: &ObjectMeta, uid: Option<&String>) -> bool {
    controller_of(object).is_some_and(|reference| Some(&reference.uid) == uid)
}

/// The reference that makes `owner` the controller of what carries it.
pub(crate) fn controller_reference<K: k8s_openapi::Resource>(owner: &ObjectMeta) -> OwnerReference {
    OwnerReference {
        api_version: K::API_VERSION.into(),
        kind: K::KIND.into(),
        name: owner.name.clone().unwrap_or_default(),
        uid: owner.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// `object`'s metadata after it was adopted through `reference`.
pub(crate) fn adopted(object: &ObjectMeta, reference: OwnerReference) -> ObjectMeta {
    let mut meta = object.clone();
    let owners = meta.owner_references.get_or_insert_default();
    owners.retain(|owner| owner.uid != reference.uid);
    owners.push(reference);
    meta
}

/// `object`'s metadata after the owner with this uid let go of it.
pub(crate) fn released(object: &ObjectMeta, uid: &str) -> ObjectMeta {
    let mut meta = object.clone();
    if let Some(owners) = &mut meta.owner_references {
        owners.retain(|owner| owner.uid != uid);
        if owners.is_empty() {
            meta.owner_references = None;
        }
    }
    meta
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::testing::{labels, meta, time};

    #[test]
    fn rules() {
        let selector = LabelSelector::from_labels([("app", "web")]);
        // (label, controlled by, object deleting, owner deleting) -> claim
        let rows = [
            ("web", Some("me"), false, false, Claim::Keep),
            ("web", Some("me"), false, true, Claim::Keep),
            ("web", Some("you"), false, false, Claim::Ignore),
            ("api", Some("you"), false, false, Claim::Ignore),
            ("api", Some("me"), false, false, Claim::Release),
            ("api", Some("me"), false, true, Claim::Ignore),
            ("web", None, false, false, Claim::Adopt),
            ("web", None, true, false, Claim::Ignore),
            ("web", None, false, true, Claim::Ignore),
            ("api", None, false, false, Claim::Ignore),
        ];
        for row in rows {
            let (label, controller, deleting, owner_deleting, expected) = row;
            let stamp = |yes: bool| yes.then(|| time(1));
            let owner =
                ObjectMeta { uid: Some("me".into()), deletion_timestamp: stamp(owner_deleting), ..meta("owner") };
            let object = ObjectMeta {
                labels: labels(&[("app", label)]),
                deletion_timestamp: stamp(deleting),
                owner_references: controller.map(|uid| {
                    vec![OwnerReference { uid: uid.into(), controller: Some(true), ..OwnerReference::default() }]
                }),
                ..meta("object")
            };
            assert_eq!(claim(&owner, &selector, &object), expected, "{row:?}");
        }
    }

    #[test]
    fn release_undoes_adoption() {
        let owner = ObjectMeta { uid: Some("u1".into()), ..meta("set") };
        let reference = controller_reference::<k8s_openapi::api::apps::v1::ReplicaSet>(&owner);
        let object = adopted(&meta("pod"), reference.clone());
        assert!(is_controlled_by(&object, owner.uid.as_ref()));
        assert_eq!(adopted(&object, reference), object, "adopting twice changes nothing");
        assert_eq!(released(&object, "u1"), meta("pod"));
    }
}
