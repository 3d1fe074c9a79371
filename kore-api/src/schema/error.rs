//! What can be wrong with the shape of a body.

/// One thing wrong with the shape of a value. `Display` speaks upstream's words.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SchemaError {
    /// Where, e.g. `spec.containers[0].image`.
    pub path: String,
    /// What.
    pub problem: Problem,
}

/// What is wrong at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The kind has no such field. What becomes of the request depends on its `fieldValidation`.
    UnknownField,
    /// The field stands twice in the body. What becomes of the request depends on its `fieldValidation`.
    DuplicateField,
    /// The value is of another type: the request is bad.
    WrongType {
        /// What was found, in the words of the Go decoder: `string`, `number 1.5`, `object`.
        found: String,
        /// The Go struct and the path to the field: `DeploymentSpec.spec.replicas`; empty inside types that decode themselves.
        place: String,
        /// The Go type that was expected: `int32`.
        expected: String,
    },
    /// The value is of the right type but is not well formed: the request is bad.
    Malformed {
        /// Why.
        message: String,
    },
}

impl SchemaError {
    /// Whether the body cannot be decoded at all, whatever `fieldValidation` says.
    pub fn is_fatal(&self) -> bool {
        !matches!(self.problem, Problem::UnknownField | Problem::DuplicateField)
    }

    /// The error for a field that the kind does not know.
    pub(crate) fn unknown(path: impl Into<String>) -> SchemaError {
        SchemaError { path: path.into(), problem: Problem::UnknownField }
    }

    /// The error for a field that stands twice, as `codec::decode` reports them by path.
    pub fn duplicate(path: impl Into<String>) -> SchemaError {
        SchemaError { path: path.into(), problem: Problem::DuplicateField }
    }
}

impl std::fmt::Display for SchemaError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.problem {
            Problem::UnknownField => write!(formatter, "unknown field {:?}", self.path),
            Problem::DuplicateField => write!(formatter, "duplicate field {:?}", self.path),
            Problem::WrongType { found, place, expected } if place.is_empty() => {
                write!(formatter, "json: cannot unmarshal {found} into Go value of type {expected}")
            }
            Problem::WrongType { found, place, expected } => {
                write!(formatter, "json: cannot unmarshal {found} into Go struct field {place} of type {expected}")
            }
            Problem::Malformed { message } => formatter.write_str(message),
        }
    }
}

impl std::error::Error for SchemaError {}

/// The message of the 400 `BadRequest` for a body that cannot be taken: the first fatal error, else all others as one
/// strict decoding error. `None` if there is no error.
///
/// With `fieldValidation=Warn` call it with the fatal errors only and send the others as warnings.
///
/// ```
/// use kore_api::schema::{Schema, bad_request, check};
///
/// let schema = Schema::of("v1", "ConfigMap").unwrap();
/// let errors = check(&schema, &serde_json::json!({"dato": {}, "metadata": {"nome": "x"}}));
/// assert_eq!(
///     bad_request("v1", "ConfigMap", &errors).unwrap(),
///     "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: \
///      unknown field \"dato\", unknown field \"metadata.nome\"",
/// );
/// ```
pub fn bad_request(api_version: &str, kind: &str, errors: &[SchemaError]) -> Option<String> {
    let version = api_version.rsplit_once('/').map_or(api_version, |(_, version)| version);
    let why = match errors.iter().find(|error| error.is_fatal()) {
        Some(fatal) => fatal.to_string(),
        None if errors.is_empty() => return None,
        None => {
            let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
            format!("strict decoding error: {}", all.join(", "))
        }
    };
    Some(format!("{kind} in version {version:?} cannot be handled as a {kind}: {why}"))
}
