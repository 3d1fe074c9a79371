//! How urgent pods are.

use async_trait::async_trait;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use serde_json::Value;

use super::{Admission, Write};
use crate::error::Status;
use crate::object::{Object, ObjectKey, ResourceType};
use crate::request::Verb;

const CLASSES: ResourceType = ResourceType::of::<PriorityClass>();
const PREEMPTS: &str = "PreemptLowerPriority";

/// Gives new pods the number that their PriorityClass stands for, or that of the class that is everybody's default, else 0; and lets there
/// be one such default at most. Upstream's admission plugin of the same name. A server without the resource `priorityclasses` leaves
/// pods as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Priority;

#[async_trait]
impl Admission for Priority {
    async fn mutate(&self, write: &mut Write<'_>) -> Result<(), Status> {
        if !write.is_new_pod() || !write.lookup.knows(&CLASSES) {
            return Ok(());
        }
        let wanted = write.object["spec"]["priorityClassName"].as_str().unwrap_or_default().to_owned();
        let class = match &*wanted {
            "" => default_class(write, "").await?,
            name => {
                let key = ObjectKey::cluster(name);
                let found = match write.lookup.cached(&CLASSES, &key) {
                    Some(class) => Some(class),
                    None => write.lookup.get(&CLASSES, &key).await?,
                };
                Some(found.ok_or_else(|| refuse(write, format!("no PriorityClass with name {name} was found")))?)
            }
        };
        let class = class.map(|class| class.to_value()).unwrap_or_default();
        let priority = class["value"].as_i64().unwrap_or_default();
        let policy = class["preemptionPolicy"].as_str().unwrap_or(PREEMPTS).to_owned();
        let Some(spec) = write.object.get_mut("spec").and_then(Value::as_object_mut) else {
            return Ok(());
        };
        let given = spec.get("priority").and_then(Value::as_i64).filter(|given| *given != priority);
        let other =
            spec.get("preemptionPolicy").and_then(Value::as_str).filter(|given| *given != policy).map(str::to_owned);
        let because = "from the given PriorityClass name";
        if let Some(given) = given {
            let problem = format!(
                "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller \
                 computed {priority} {because}"
            );
            return Err(refuse(write, problem));
        }
        if let Some(given) = other {
            let problem = format!(
                "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission \
                 controller computed {policy} {because}"
            );
            return Err(refuse(write, problem));
        }
        if let Some(name) = class["metadata"]["name"].as_str() {
            spec.insert("priorityClassName".to_owned(), name.into());
        }
        spec.insert("priority".to_owned(), priority.into());
        spec.insert("preemptionPolicy".to_owned(), policy.into());
        Ok(())
    }

    async fn validate(&self, write: &Write<'_>) -> Result<(), Status> {
        let is_class = write.resource.group == CLASSES.group && write.resource.plural == CLASSES.plural;
        if is_class
            && write.object["globalDefault"] == true
            && let Some(other) = default_class(write, write.name).await?
        {
            let name = other.name();
            let problem = format!("PriorityClass {name} is already marked as default. Only one default can exist");
            return Err(refuse(write, problem));
        }
        Ok(())
    }
}

fn refuse(write: &Write<'_>, problem: String) -> Status {
    Status::forbidden(write.resource, write.name, problem)
}

/// The class of pods that name none, but for the one of this name; the least urgent, should there be several.
async fn default_class(write: &Write<'_>, but: &str) -> Result<Option<Object>, Status> {
    let classes = write.lookup.list(&CLASSES, "").await?.into_iter().filter(|class| class.name() != but);
    let defaults = classes.filter_map(|class| {
        let value = class.to_value();
        (value["globalDefault"] == true).then(|| (value["value"].as_i64().unwrap_or_default(), class))
    });
    Ok(defaults.min_by_key(|(value, _)| *value).map(|(_, class)| class))
}

impl Write<'_> {
    /// Whether a pod is made.
    pub(super) fn is_new_pod(&self) -> bool {
        self.verb == Verb::Create
            && self.resource.group.is_empty()
            && self.resource.plural == "pods"
            && self.subresource.is_empty()
    }
}
