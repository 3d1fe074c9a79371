//! What `--apply` does: applies manifests, has them followed until they are available, and says what to try next.

use std::fs;
use std::path::PathBuf;

use kore_api::auth::User;
use kore_api::client::Client;
use kore_api::codec::{self, Format};
use kore_api::object::{Object, ResourceType};
use kore_api::patch::PatchKind;
use kore_api::request::{FieldValidation, Options};
use kore_api::server::Server;
use serde_json::{Map, Value, json};

use crate::args::Args;
use crate::follow::follow;
use crate::progress::say;

/// Where kubectl, too, keeps what was last applied, so that what is no longer in a manifest goes.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Applies what the command line names, and shows how it becomes available. With `--once` that is all; else it says what to try
/// next, and does not return.
///
/// # Errors
/// Names the file and the object that cannot be applied; with `--once`, what is still missing after `--timeout`.
pub(crate) async fn run(server: &Server, args: &Args) -> Result<(), String> {
    let client = &server.client(User::admin());
    let applied = apply(client, server, &args.apply).await?;
    let outcome = follow(client, &applied, args.timeout).await;
    if args.once {
        return outcome;
    }
    what_next(&applied, outcome);
    std::future::pending().await
}

/// Creates or changes every object in these files, in order.
///
/// # Errors
/// Names the file and the object that cannot be applied.
async fn apply(client: &Client, server: &Server, files: &[PathBuf]) -> Result<Vec<Object>, String> {
    let mut applied = Vec::new();
    for file in files {
        let named = |problem: String| format!("{}: {problem}", file.display());
        let text = fs::read_to_string(file).map_err(|error| named(error.to_string()))?;
        let manifests = manifests(&text).map_err(named)?;
        if manifests.is_empty() {
            return Err(named("there is no object in it".into()));
        }
        for manifest in manifests {
            applied.push(apply_one(client, server, manifest).await.map_err(named)?);
        }
    }
    Ok(applied)
}

/// The objects of a file: of each of its documents, and of lists in them.
fn manifests(text: &str) -> Result<Vec<Value>, String> {
    let mut found = Vec::new();
    for document in text.split("\n---").filter(|document| has_content(document)) {
        let decoded = codec::decode(Format::Yaml, document.as_bytes(), &codec::Limits::default());
        let decoded = decoded.map_err(|error| error.to_string())?;
        if let Some(field) = decoded.duplicates.first() {
            return Err(format!("the field {field:?} stands twice"));
        }
        match decoded.value {
            mut list if list["kind"] == "List" => match list["items"].take() {
                Value::Array(items) => found.extend(items),
                _ => return Err("a List without items".into()),
            },
            object => found.push(object),
        }
    }
    Ok(found)
}

fn has_content(document: &str) -> bool {
    document.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#') && line.trim() != "---")
}

async fn apply_one(client: &Client, server: &Server, mut manifest: Value) -> Result<Object, String> {
    let (api_version, kind) = (manifest["apiVersion"].as_str(), manifest["kind"].as_str());
    let name = manifest["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let named = format!("{} {name:?}", kind.unwrap_or("an object without a kind"));
    let is_wanted =
        |resource: &ResourceType| Some(&*resource.api_version()) == api_version && Some(&*resource.kind) == kind;
    let registry = server.registry();
    let resource = registry.iter().map(|info| &info.resource).find(|resource| is_wanted(resource));
    let resource = resource.ok_or_else(|| format!("{named}: no such kind in {}", api_version.unwrap_or("\"\"")))?;
    let problem = |error: kore_api::error::Error| format!("{named}: {error}");

    let namespace = manifest["metadata"]["namespace"].as_str().unwrap_or("default").to_owned();
    let api = client.dynamic(ResourceType::clone(resource)).in_namespace(&namespace);
    let text = format!("{manifest}\n");
    if let Some(metadata) = manifest["metadata"].as_object_mut() {
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(LAST_APPLIED.into(), text.into());
        }
    }
    // A field that nobody knows is a mistake in the manifest.
    let strictly = Options::default().field_validation(FieldValidation::Strict).field_manager("standalone");
    match api.create(manifest.clone(), &strictly).await {
        Err(error) if error.is_already_exists() => {}
        outcome => return outcome.map_err(problem),
    }
    let current = api.get(&name).await.map_err(problem)?.to_value();
    let last = current["metadata"]["annotations"][LAST_APPLIED].as_str();
    let last = last.and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Null);
    let patch = with_removals(&last, manifest);
    api.patch(&name, None, PatchKind::Merge, patch, &strictly).await.map_err(problem)
}

/// The merge patch that brings about `wanted`, and takes away what `last` had and `wanted` has not.
fn with_removals(last: &Value, wanted: Value) -> Value {
    let Value::Object(mut wanted) = wanted else {
        return wanted;
    };
    let nothing = Map::new();
    let last = last.as_object().unwrap_or(&nothing);
    for (field, value) in &mut wanted {
        if value.is_object() {
            *value = with_removals(last.get(field).unwrap_or(&Value::Null), value.take());
        }
    }
    for field in last.keys() {
        wanted.entry(field.clone()).or_insert(Value::Null);
    }
    Value::Object(wanted)
}

/// Says what a user may try now that everything is available, or is not.
fn what_next(applied: &[Object], outcome: Result<(), String>) {
    if let Err(problem) = &outcome {
        eprintln!("warning: {problem}");
    }
    say("next, with that KUBECONFIG in another terminal:");
    say("  kubectl get all -A");
    if outcome.is_err() {
        say("  kubectl get events -A");
    }
    for deployment in applied.iter().filter(|object| object.kind() == "Deployment") {
        let (name, namespace) = (deployment.name(), deployment.namespace().unwrap_or_default());
        say(format_args!("  kubectl scale deployment {name} -n {namespace} --replicas=5"));
        say(format_args!("  kubectl logs -n {namespace} deployment/{name} -f"));
    }
    say("Ctrl-C stops the workloads and the cluster; the next start resumes it.");
}
