//! What a pod asks for and what a node offers, as whole numbers.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kore_api::schema::quantity;

/// The CPU a container counts with in scores when it states none, in thousandths of a core.
pub(crate) const DEFAULT_CPU_MILLI: i64 = 100;
/// The memory a container counts with in scores when it states none, in bytes.
pub(crate) const DEFAULT_MEMORY_BYTES: i64 = 200 << 20;

/// An amount of every resource.
///
/// CPU is in thousandths of a core, memory and ephemeral storage in bytes; everything else (extended resources, huge
/// pages) is counted in its own unit, by name, in the order of the names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Resources {
    /// Thousandths of a core.
    pub cpu_milli: i64,
    /// Bytes of memory.
    pub memory_bytes: i64,
    /// Bytes of ephemeral storage.
    pub ephemeral_bytes: i64,
    /// Extended resources and huge pages by name; names occur once and are sorted.
    pub extended: Vec<(Arc<str>, i64)>,
}

impl Resources {
    /// Nothing at all is asked for.
    pub fn is_zero(&self) -> bool {
        self.cpu_milli == 0
            && self.memory_bytes == 0
            && self.ephemeral_bytes == 0
            && self.extended.iter().all(|(_, amount)| *amount == 0)
    }

    /// The amount of the resource of that name; zero when it is not mentioned.
    pub fn get(&self, name: &str) -> i64 {
        match name {
            "cpu" => self.cpu_milli,
            "memory" => self.memory_bytes,
            "ephemeral-storage" => self.ephemeral_bytes,
            _ => match self.extended.binary_search_by(|(known, _)| (**known).cmp(name)) {
                Ok(at) => self.extended[at].1,
                Err(_) => 0,
            },
        }
    }

    pub(crate) fn from_list(list: Option<&BTreeMap<String, Quantity>>) -> Resources {
        let mut resources = Resources::default();
        for (name, quantity) in list.into_iter().flatten() {
            let amount = if name == "cpu" { quantity::milli_value(&quantity.0) } else { quantity::value(&quantity.0) };
            resources.set(name, amount.unwrap_or(0));
        }
        resources
    }

    fn set(&mut self, name: &str, amount: i64) {
        match name {
            "cpu" => self.cpu_milli = amount,
            "memory" => self.memory_bytes = amount,
            "ephemeral-storage" => self.ephemeral_bytes = amount,
            _ if !is_counted(name) => {}
            _ => match self.extended.binary_search_by(|(known, _)| (**known).cmp(name)) {
                Ok(at) => self.extended[at].1 = amount,
                Err(at) => self.extended.insert(at, (name.into(), amount)),
            },
        }
    }

    fn merge(&mut self, other: &Resources, combine: impl Fn(i64, i64) -> i64) {
        self.cpu_milli = combine(self.cpu_milli, other.cpu_milli);
        self.memory_bytes = combine(self.memory_bytes, other.memory_bytes);
        self.ephemeral_bytes = combine(self.ephemeral_bytes, other.ephemeral_bytes);
        for (name, amount) in &other.extended {
            self.set(name, combine(self.get(name), *amount));
        }
    }

    fn add(&mut self, other: &Resources) {
        self.merge(other, i64::saturating_add);
    }

    fn raise_to(&mut self, other: &Resources) {
        self.merge(other, i64::max);
    }
}

/// Whether the scheduler counts a resource beyond CPU, memory and ephemeral storage: extended resources (those of a
/// domain), huge pages and attachable volumes; quota names (`requests.…`) are nobody's resource.
fn is_counted(name: &str) -> bool {
    (name.contains('/') && !name.starts_with("requests."))
        || name.starts_with("hugepages-")
        || name.starts_with("attachable-volumes-")
}

/// What the scheduler must set aside for a pod: the containers together with the sidecars, or what the largest moment of
/// initialisation takes, whichever is more; pod-level requests take the place of that; overhead comes on top.
///
/// A container being resized in place counts with the most of what it asks for, has been allocated and runs with; with
/// what it has, once the node called the resize infeasible.
pub(crate) fn of_pod(pod: &Pod) -> Resources {
    total(pod, None)
}

/// The same for scores: a container that states no CPU or no memory counts with [`DEFAULT_CPU_MILLI`] or
/// [`DEFAULT_MEMORY_BYTES`], so that pods without requests spread as well.
pub(crate) fn of_pod_for_scores(pod: &Pod) -> Resources {
    total(pod, Some((DEFAULT_CPU_MILLI, DEFAULT_MEMORY_BYTES)))
}

fn total(pod: &Pod, defaults: Option<(i64, i64)>) -> Resources {
    let Some(spec) = &pod.spec else {
        return Resources::default();
    };
    let of = |container: &Container| of_container(pod, container, defaults);

    let mut running = Resources::default();
    for container in &spec.containers {
        running.add(&of(container));
    }
    let mut sidecars = Resources::default();
    let mut starting = Resources::default();
    for container in spec.init_containers.iter().flatten() {
        let mut needed = of(container);
        if container.restart_policy.as_deref() == Some("Always") {
            running.add(&needed);
            sidecars.add(&needed);
            needed = sidecars.clone();
        } else {
            needed.add(&sidecars);
        }
        starting.raise_to(&needed);
    }
    running.raise_to(&starting);

    let of_the_pod = spec.resources.as_ref().and_then(|r| r.requests.as_ref());
    for (name, amount) in of_the_pod.into_iter().flatten() {
        if name == "cpu" || name == "memory" || name.starts_with("hugepages-") {
            let stated = Resources::from_list(Some(&BTreeMap::from([(name.clone(), amount.clone())])));
            running.set(name, stated.get(name));
        }
    }
    running.add(&Resources::from_list(spec.overhead.as_ref()));
    running
}

fn of_container(pod: &Pod, container: &Container, defaults: Option<(i64, i64)>) -> Resources {
    let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    let mut needed = Resources::from_list(requests);
    if let Some(status) = status_of(pod, &container.name)
        && let Some(resources) = &status.resources
    {
        let mut actual = Resources::from_list(resources.requests.as_ref());
        actual.raise_to(&Resources::from_list(status.allocated_resources.as_ref()));
        if is_resize_infeasible(pod) {
            return actual;
        }
        needed.raise_to(&actual);
    }
    if let Some((cpu_milli, memory_bytes)) = defaults {
        let states = |name| requests.is_some_and(|requests| requests.contains_key(name));
        if !states("cpu") {
            needed.cpu_milli = cpu_milli;
        }
        if !states("memory") {
            needed.memory_bytes = memory_bytes;
        }
    }
    needed
}

fn status_of<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let running = status.container_statuses.iter().flatten();
    running.chain(status.init_container_statuses.iter().flatten()).find(|status| status.name == name)
}

fn is_resize_infeasible(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "PodResizePending" && condition.reason.as_deref() == Some("Infeasible"))
}
