//! Query parameters, and the options in the body of a deletion.

use serde_json::Value;

use super::path::percent_decode;
use crate::error::Status;
use crate::request::{FieldValidation, Options, Propagation};

/// More parameters than this are refused.
const PARAMETERS_MAX: usize = 256;
/// The longest name of a field manager, as upstream has it.
pub(super) const FIELD_MANAGER_CHARS_MAX: usize = 128;

/// The parameters of a request, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads what stands behind the question mark.
    ///
    /// # Errors
    /// 400 when it is not percent-encoded UTF-8, or has more than 256 parameters.
    pub fn parse(query: &str) -> Result<Self, Status> {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let decoded = |text: &str| {
            let text = text.replace('+', " ");
            let invalid = || Status::bad_request(format!("the query {text:?} is not percent-encoded UTF-8"));
            percent_decode(&text).map(|text| text.into_owned()).ok_or_else(invalid)
        };
        let parameters = pairs.take(PARAMETERS_MAX + 1).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decoded(name)?, decoded(value)?))
        });
        let parameters = parameters.collect::<Result<Vec<_>, Status>>()?;
        if parameters.len() > PARAMETERS_MAX {
            return Err(Status::bad_request(format!("more than {PARAMETERS_MAX} query parameters")));
        }
        Ok(Self(parameters))
    }

    /// The first value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Whether a parameter is set and true.
    ///
    /// # Errors
    /// 400 when it is neither true nor false.
    pub fn flag(&self, name: &str) -> Result<bool, Status> {
        self.get(name).map_or(Ok(false), |value| flag(name, value))
    }

    /// The parameters of the API as options; unknown ones are kept in `extra`.
    ///
    /// # Errors
    /// 400 that names the parameter and its value.
    pub fn options(&self) -> Result<Options, Status> {
        let mut options = Options::default();
        let mut seen: Vec<&str> = Vec::with_capacity(self.0.len());
        for (name, value) in &self.0 {
            // As upstream: the first one counts.
            let repeated = seen.contains(&name.as_str());
            seen.push(name);
            if repeated && name != "dryRun" && is_known(name) {
                continue;
            }
            set(&mut options, name, value)?;
        }
        Ok(options)
    }
}

/// Parameters that mean something to the server, whatever the resource.
fn is_known(name: &str) -> bool {
    let mut options = Options::default();
    set(&mut options, name, "").is_err() || options.extra.is_empty()
}

fn set(options: &mut Options, name: &str, value: &str) -> Result<(), Status> {
    let text = || Some(value.to_owned()).filter(|value| !value.is_empty());
    match name {
        "labelSelector" => options.label_selector = text(),
        "fieldSelector" => options.field_selector = text(),
        "limit" => options.limit = number(name, value)?.unwrap_or_default(),
        "continue" => options.continue_token = text(),
        "resourceVersion" => options.resource_version = text(),
        "resourceVersionMatch" => options.resource_version_match = text(),
        "timeoutSeconds" => options.timeout_seconds = number(name, value)?,
        "allowWatchBookmarks" => options.allow_watch_bookmarks = flag(name, value)?,
        "sendInitialEvents" => options.send_initial_events = flag(name, value)?,
        "dryRun" => options.dry_run = dry_run(value)?,
        "fieldManager" => options.field_manager = field_manager(value)?,
        "fieldValidation" => options.field_validation = field_validation(value)?,
        "force" => options.force = flag(name, value)?,
        "gracePeriodSeconds" => options.grace_period_seconds = number(name, value)?,
        "propagationPolicy" => options.propagation = propagation(value)?,
        "orphanDependents" => {
            let orphan = if flag(name, value)? { Propagation::Orphan } else { Propagation::Background };
            options.propagation = options.propagation.or(Some(orphan));
        }
        // Of this front end only.
        "watch" | "pretty" | "includeObject" | "timeout" => {}
        "ignoreStoreReadErrorWithClusterBreakingPotential" => {}
        _ => options.extra.push((name.to_owned(), value.to_owned())),
    }
    Ok(())
}

/// Merges the `DeleteOptions` in the body of a deletion into `options`; what the body says goes before the query.
///
/// # Errors
/// 400 that names the field and its value.
pub(crate) fn delete_options(options: &mut Options, body: &Value) -> Result<(), Status> {
    let wrong = |field: &str, value: &Value| {
        Status::bad_request(format!("DeleteOptions: {field}: Invalid value: {value}: has the wrong type"))
    };
    let Value::Object(fields) = body else {
        return Err(Status::bad_request("the body of a deletion must be DeleteOptions"));
    };
    let kind = fields.get("kind").and_then(Value::as_str).unwrap_or("DeleteOptions");
    if kind != "DeleteOptions" {
        return Err(Status::bad_request(format!("the body of a deletion must be DeleteOptions, not {kind:?}")));
    }
    let set = |name: &str| fields.get(name).filter(|value| !value.is_null());
    if set("orphanDependents").is_some() && set("propagationPolicy").is_some() {
        return Err(Status::bad_request("DeleteOptions: orphanDependents and propagationPolicy may not both be set"));
    }
    if let Some(seconds) = set("gracePeriodSeconds") {
        let seconds = seconds.as_i64().ok_or_else(|| wrong("gracePeriodSeconds", seconds))?;
        options.grace_period_seconds = Some(seconds);
    }
    if let Some(orphan) = set("orphanDependents") {
        let orphan = orphan.as_bool().ok_or_else(|| wrong("orphanDependents", orphan))?;
        options.propagation = Some(if orphan { Propagation::Orphan } else { Propagation::Background });
    }
    if let Some(policy) = set("propagationPolicy") {
        let policy = policy.as_str().ok_or_else(|| wrong("propagationPolicy", policy))?;
        options.propagation = propagation(policy)?.or(options.propagation);
    }
    if let Some(stages) = set("dryRun") {
        let stages = stages.as_array().ok_or_else(|| wrong("dryRun", stages))?;
        for stage in stages {
            options.dry_run = dry_run(stage.as_str().ok_or_else(|| wrong("dryRun", stage))?)?;
        }
    }
    if let Some(conditions) = set("preconditions") {
        let conditions = conditions.as_object().ok_or_else(|| wrong("preconditions", conditions))?;
        let text = |name: &str| match conditions.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(wrong(&format!("preconditions.{name}"), other)),
        };
        options.precondition_uid = text("uid")?.or(options.precondition_uid.take());
        options.precondition_revision = text("resourceVersion")?.or(options.precondition_revision.take());
    }
    Ok(())
}

fn invalid(name: &str, value: &str, expected: &str) -> Status {
    Status::bad_request(format!("invalid value {value:?} for the query parameter {name:?}: {expected}"))
}

fn flag(name: &str, value: &str) -> Result<bool, Status> {
    match value {
        "true" | "True" | "TRUE" | "1" | "t" | "T" => Ok(true),
        "" | "false" | "False" | "FALSE" | "0" | "f" | "F" => Ok(false),
        _ => Err(invalid(name, value, "must be true or false")),
    }
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<Option<T>, Status> {
    if value.is_empty() {
        return Ok(None);
    }
    let expected = if name == "gracePeriodSeconds" { "must be an integer" } else { "must be an integer, 0 or more" };
    value.parse().map(Some).map_err(|_| invalid(name, value, expected))
}

fn dry_run(value: &str) -> Result<bool, Status> {
    match value {
        "" => Ok(false),
        "All" => Ok(true),
        _ => Err(invalid("dryRun", value, "supported values: \"All\"")),
    }
}

fn field_validation(value: &str) -> Result<FieldValidation, Status> {
    match value {
        "" => Ok(FieldValidation::default()),
        "Ignore" => Ok(FieldValidation::Ignore),
        "Warn" => Ok(FieldValidation::Warn),
        "Strict" => Ok(FieldValidation::Strict),
        _ => Err(invalid("fieldValidation", value, "supported values: \"Ignore\", \"Strict\", \"Warn\"")),
    }
}

fn propagation(value: &str) -> Result<Option<Propagation>, Status> {
    match value {
        "" => Ok(None),
        "Background" => Ok(Some(Propagation::Background)),
        "Foreground" => Ok(Some(Propagation::Foreground)),
        "Orphan" => Ok(Some(Propagation::Orphan)),
        _ => {
            let supported = "supported values: \"Background\", \"Foreground\", \"Orphan\"";
            Err(invalid("propagationPolicy", value, supported))
        }
    }
}

fn field_manager(value: &str) -> Result<Option<String>, Status> {
    if value.chars().count() > FIELD_MANAGER_CHARS_MAX || value.chars().any(char::is_control) {
        let expected = "must be at most 128 printable characters";
        return Err(invalid("fieldManager", value, expected));
    }
    Ok(Some(value.to_owned()).filter(|value| !value.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn options(query: &str) -> Result<Options, String> {
        Query::parse(query).and_then(|query| query.options()).map_err(|status| {
            assert_eq!(status.code, 400);
            status.message
        })
    }

    #[test]
    fn parameters_become_options() {
        let all = options(
            "labelSelector=a%3Db%2Cc+in+(d)&fieldSelector=spec.nodeName%3Dn&limit=500&continue=x&resourceVersion=7\
             &resourceVersionMatch=Exact&timeoutSeconds=30&allowWatchBookmarks=true&sendInitialEvents=1&dryRun=All\
             &fieldManager=helm&fieldValidation=Strict&force=true&gracePeriodSeconds=-1&propagationPolicy=Orphan\
             &watch=true&pretty=true&follow=true&tailLines=3",
        );
        let expected = Options {
            label_selector: Some("a=b,c in (d)".into()),
            field_selector: Some("spec.nodeName=n".into()),
            limit: 500,
            continue_token: Some("x".into()),
            resource_version: Some("7".into()),
            resource_version_match: Some("Exact".into()),
            timeout_seconds: Some(30),
            allow_watch_bookmarks: true,
            send_initial_events: true,
            dry_run: true,
            field_manager: Some("helm".into()),
            field_validation: FieldValidation::Strict,
            force: true,
            grace_period_seconds: Some(-1),
            propagation: Some(Propagation::Orphan),
            extra: vec![("follow".into(), "true".into()), ("tailLines".into(), "3".into())],
            ..Options::default()
        };
        assert_eq!(all, Ok(expected));
        assert_eq!(options(""), Ok(Options::default()));
        assert_eq!(options("limit=&labelSelector=&watch=false"), Ok(Options::default()));
        assert_eq!(options("limit=1&limit=2").unwrap().limit, 1);
        let repeated = options("command=a&command=b").unwrap().extra;
        assert_eq!(repeated.len(), 2);
    }

    #[test]
    fn a_value_that_makes_no_sense_is_refused_by_name() {
        for (query, named) in [
            ("limit=-1", "limit"),
            ("limit=ten", "limit"),
            ("timeoutSeconds=1.5", "timeoutSeconds"),
            ("allowWatchBookmarks=maybe", "allowWatchBookmarks"),
            ("dryRun=some", "dryRun"),
            ("fieldValidation=Loose", "fieldValidation"),
            ("propagationPolicy=Down", "propagationPolicy"),
            ("fieldManager=a%00", "fieldManager"),
            ("gracePeriodSeconds=soon", "gracePeriodSeconds"),
            ("a=%zz", "%zz"),
        ] {
            let message = options(query).unwrap_err();
            assert!(message.contains(named), "{query}: {message}");
        }
        let many = "a=b&".repeat(PARAMETERS_MAX + 1);
        assert!(options(&many).unwrap_err().contains("256"));
    }

    #[test]
    fn the_body_of_a_deletion_goes_before_its_query() {
        let mut merged = options("gracePeriodSeconds=30&propagationPolicy=Orphan").unwrap();
        let body = json!({"kind": "DeleteOptions", "gracePeriodSeconds": 0, "dryRun": ["All"],
            "preconditions": {"uid": "u", "resourceVersion": "7"}, "propagationPolicy": null});
        delete_options(&mut merged, &body).unwrap();
        let expected = Options {
            grace_period_seconds: Some(0),
            propagation: Some(Propagation::Orphan),
            dry_run: true,
            precondition_uid: Some("u".into()),
            precondition_revision: Some("7".into()),
            ..Options::default()
        };
        assert_eq!(merged, expected);
        for (body, named) in [
            (json!([]), "DeleteOptions"),
            (json!({"kind": "Pod"}), "Pod"),
            (json!({"gracePeriodSeconds": "x"}), "gracePeriodSeconds"),
            (json!({"preconditions": {"uid": 1}}), "preconditions.uid"),
            (json!({"propagationPolicy": "Down"}), "propagationPolicy"),
        ] {
            let status = delete_options(&mut Options::default(), &body).unwrap_err();
            assert!(status.code == 400 && status.message.contains(named), "{status}");
        }
    }
}
