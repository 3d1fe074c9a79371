//! As which user a container runs.

use k8s_openapi::api::core::v1::{Container, Pod};

/// The user and groups of a container; what is `None` is as its image has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) user: Option<u32>,
    pub(crate) group: Option<u32>,
    pub(crate) groups: Vec<u32>,
}

/// What the container's security context says, else the pod's. `image_user`: as whom the image's programs run; `None`: not known.
///
/// # Errors
/// In upstream's words, when it would run as root and may not.
pub(crate) fn identity(pod: &Pod, container: &Container, image_user: Option<u32>) -> Result<Identity, String> {
    let of_pod = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    let own = container.security_context.as_ref();
    let id = |id: i64| u32::try_from(id).map_err(|_| format!("{id} is not an id of a user or group"));
    let user = own.and_then(|own| own.run_as_user).or_else(|| of_pod?.run_as_user).map(id).transpose()?;
    let group = own.and_then(|own| own.run_as_group).or_else(|| of_pod?.run_as_group).map(id).transpose()?;
    let groups = of_pod.and_then(|of_pod| of_pod.supplemental_groups.as_ref()).into_iter().flatten();
    let groups = groups.copied().map(id).collect::<Result<_, _>>()?;
    let never_root = own.and_then(|own| own.run_as_non_root).or_else(|| of_pod?.run_as_non_root) == Some(true);
    match (user, image_user) {
        (Some(0), _) if never_root => Err("container's runAsUser breaks non-root policy".into()),
        (None, Some(0)) if never_root => Err("container has runAsNonRoot and image will run as root".into()),
        _ => Ok(Identity { user, group, groups }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_containers_word_counts_before_the_pods() {
        let root = Some(0);
        let refused = |problem: &str| Err(problem.to_owned());
        let runs = |user, group| Ok(Identity { user, group, groups: vec![] });
        let (breaks, as_root) =
            ("container's runAsUser breaks non-root policy", "container has runAsNonRoot and image will run as root");
        let rows = [
            (json!({}), json!({}), root, runs(None, None)),
            (json!({"runAsUser": 7, "runAsGroup": 8}), json!({}), root, runs(Some(7), Some(8))),
            (json!({"runAsUser": 7}), json!({"runAsUser": 9}), root, runs(Some(9), None)),
            (json!({"runAsNonRoot": true}), json!({}), root, refused(as_root)),
            (json!({"runAsNonRoot": true}), json!({}), Some(1000), runs(None, None)),
            (json!({"runAsNonRoot": true}), json!({}), None, runs(None, None)),
            (json!({"runAsNonRoot": true}), json!({"runAsNonRoot": false}), root, runs(None, None)),
            (json!({"runAsNonRoot": true, "runAsUser": 7}), json!({}), root, runs(Some(7), None)),
            (json!({"runAsNonRoot": true}), json!({"runAsUser": 0}), Some(1000), refused(breaks)),
            (json!({"runAsUser": -1}), json!({}), root, refused("-1 is not an id of a user or group")),
            (
                json!({"supplementalGroups": [5, 6]}),
                json!({}),
                root,
                Ok(Identity { groups: vec![5, 6], ..Identity::default() }),
            ),
        ];
        for (pod, container, image_user, expected) in rows {
            let spec =
                json!({"spec": {"securityContext": pod, "containers": [{"name": "c", "securityContext": container}]}});
            let object: Pod = serde_json::from_value(spec).expect("a pod");
            let container = &object.spec.as_ref().expect("a spec").containers[0];
            assert_eq!(identity(&object, container, image_user), expected, "{object:?}");
        }
    }
}
