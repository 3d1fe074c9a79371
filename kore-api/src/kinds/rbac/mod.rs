//! Who may do what: Role, ClusterRole, RoleBinding, ClusterRoleBinding.
//!
//! - `mod.rs`: roles, which are rules.
//! - `binding.rs`: bindings, which say whom a role is for.
//!
//! That there are such objects does not mean that somebody heeds them: that is an authoriser's business.

mod binding;

pub(super) use binding::{CLUSTER_ROLE_BINDING, ROLE_BINDING};

use k8s_openapi::api::rbac::v1::{ClusterRole, Role};

use super::entry::{ANYTHING, CREATED_AT, Entry, NAME, Rules, dated};
use super::field::Field;
use super::meta;
use crate::object::ResourceType;
use crate::registry::NameRule;

const GROUP: &str = "rbac.authorization.k8s.io";

pub(super) static ROLE: Entry = Entry {
    names: NameRule::PathSegment,
    has_status: false,
    create_on_update: true,
    columns: &[NAME, CREATED_AT],
    rules: Rules { always: |role| rules(role, true), ..ANYTHING },
    cells: dated,
    ..Entry::of(ResourceType::of::<Role>)
};

pub(super) static CLUSTER_ROLE: Entry = Entry {
    names: NameRule::PathSegment,
    has_status: false,
    create_on_update: true,
    columns: &[NAME, CREATED_AT],
    rules: Rules { always: cluster_role, ..ANYTHING },
    cells: dated,
    ..Entry::of(ResourceType::of::<ClusterRole>)
};

fn cluster_role(role: &Field<'_, '_>) {
    rules(role, false);
    let aggregation = role.get("aggregationRule");
    if !aggregation.is_set() {
        return;
    }
    let selectors = aggregation.get("clusterRoleSelectors");
    if selectors.len() == 0 {
        selectors.missing("at least one clusterRoleSelector required if aggregationRule is non-nil");
    }
    selectors.items().for_each(|selector| meta::selector(&selector));
}

fn rules(role: &Field<'_, '_>, namespaced: bool) {
    for rule in role.get("rules").items() {
        let verbs = rule.get("verbs");
        if verbs.len() == 0 {
            verbs.missing("verbs must contain at least one value");
        }
        let (urls, groups, resources) = (rule.get("nonResourceURLs"), rule.get("apiGroups"), rule.get("resources"));
        if urls.len() > 0 {
            if namespaced {
                urls.invalid("namespaced rules cannot apply to non-resource URLs");
            }
            if groups.len() + resources.len() + rule.get("resourceNames").len() > 0 {
                urls.invalid("rules cannot apply to both regular resources and non-resource URLs");
            }
            continue;
        }
        if groups.len() == 0 {
            groups.missing("resource rules must supply at least one api group");
        }
        if resources.len() == 0 {
            resources.missing("resource rules must supply at least one resource");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::errors;
    use serde_json::json;

    #[test]
    fn what_a_role_may_not_say() {
        let pods = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]});
        let urls = json!({"verbs": ["get"], "nonResourceURLs": ["/healthz"]});
        assert_eq!(errors(&ROLE, &json!({"rules": [pods]})), [""; 0]);
        assert_eq!(errors(&CLUSTER_ROLE, &json!({"rules": [pods, urls]})), [""; 0]);
        assert_eq!(
            errors(&ROLE, &json!({"rules": [urls, {}]})),
            [
                "rules[0].nonResourceURLs: Invalid value: [\"/healthz\"]: namespaced rules cannot apply to non-resource URLs",
                "rules[1].verbs: Required value: verbs must contain at least one value",
                "rules[1].apiGroups: Required value: resource rules must supply at least one api group",
                "rules[1].resources: Required value: resource rules must supply at least one resource",
            ]
        );
        let both = json!({"verbs": ["get"], "nonResourceURLs": ["/x"], "resources": ["pods"]});
        assert_eq!(
            errors(&CLUSTER_ROLE, &json!({"rules": [both], "aggregationRule": {}})),
            [
                "rules[0].nonResourceURLs: Invalid value: [\"/x\"]: rules cannot apply to both regular resources and non-resource \
                 URLs",
                "aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if \
                 aggregationRule is non-nil",
            ]
        );
    }
}
