//! How many pods a rollout may have too many, and too few.

use k8s_openapi::api::apps::v1::DeploymentSpec;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// The two limits of a rolling update, in pods. Never both zero: a rollout could not move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Pods beyond `spec.replicas`. A percentage is rounded up.
    pub(crate) surge: i32,
    /// Pods short of `spec.replicas`. A percentage is rounded down, and the result is at most `spec.replicas`.
    pub(crate) unavailable: i32,
}

/// The limits of this deployment; none of either for a strategy other than RollingUpdate.
pub(crate) fn limits(spec: &DeploymentSpec) -> Limits {
    if !is_rolling(spec) {
        return Limits { surge: 0, unavailable: 0 };
    }
    let replicas = replicas(spec);
    let rolling = spec.strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
    let quarter = IntOrString::String("25%".into());
    let surge = rolling.and_then(|rolling| rolling.max_surge.as_ref()).unwrap_or(&quarter);
    let unavailable = rolling.and_then(|rolling| rolling.max_unavailable.as_ref()).unwrap_or(&quarter);
    let surge = scaled(surge, replicas, |hundredths| hundredths.div_euclid(100) + i64::from(hundredths % 100 != 0));
    let mut unavailable = scaled(unavailable, replicas, |hundredths| hundredths.div_euclid(100));
    if surge == 0 && unavailable == 0 {
        unavailable = 1;
    }
    Limits { surge, unavailable: unavailable.min(replicas) }
}

/// Whether the strategy is RollingUpdate, which it is by default.
pub(crate) fn is_rolling(spec: &DeploymentSpec) -> bool {
    spec.strategy.as_ref().and_then(|strategy| strategy.type_.as_deref()).is_none_or(|type_| type_ == "RollingUpdate")
}

/// `spec.replicas`, one by default.
pub(crate) fn replicas(spec: &DeploymentSpec) -> i32 {
    spec.replicas.unwrap_or(1).max(0)
}

fn scaled(value: &IntOrString, total: i32, round: impl Fn(i64) -> i64) -> i32 {
    match value {
        IntOrString::Int(count) => (*count).max(0),
        IntOrString::String(text) => {
            let percent: i64 = text.strip_suffix('%').and_then(|digits| digits.parse().ok()).unwrap_or(0);
            round(percent.max(0).saturating_mul(i64::from(total))).clamp(0, i64::from(i32::MAX)) as i32
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::testing::{deployment, rolling};
    use crate::objects::versions::Spec;

    #[test]
    fn rounding() {
        // replicas, maxSurge, maxUnavailable -> surge, unavailable
        let rows = [
            (10, "25%", "25%", 3, 2),
            (10, "30%", "0", 3, 0),
            (1, "25%", "25%", 1, 0),
            (3, "0", "25%", 0, 1),
            (10, "0", "0", 0, 1),
            (2, "0", "1%", 0, 1),
            (5, "100%", "100%", 5, 5),
            (3, "2", "7", 2, 3),
            (0, "25%", "25%", 0, 0),
            (4, "150%", "0%", 6, 0),
            (4, "nonsense", "1", 0, 1),
        ];
        for (replicas, surge, unavailable, expected_surge, expected_unavailable) in rows {
            let web = rolling(deployment("web", replicas), surge, unavailable);
            let expected = Limits { surge: expected_surge, unavailable: expected_unavailable };
            assert_eq!(limits(web.spec().expect("a spec")), expected, "{replicas} {surge} {unavailable}");
        }
    }
}
