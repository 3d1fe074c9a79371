//! The form of a table, and what it is parsed into.
//!
//! ```text
//! # comment
//! =io.k8s.api.core.v1 v1                     a package, and the group version of its kinds (`-`: none)
//! PodSpec                                    a type; ` ^` a kind, ` ^*` a kind of every group version, ` &a` an atomic map
//!  containers! [Container 2 m:name +merge ~name
//! ```
//!
//! A field line starts with a space: name, shape, protobuf numbers, attributes.
//!
//! * after the name: `!` required; `?` a zero is a value of its own; `+` optional, yet written when zero; `-` required, yet
//!   omitted when zero; `=` an object that is always there, empty at least;
//! * shapes: `s` string, `B` bytes (base64), `b` boolean, `i` int32, `I` int64, `d` double, `t` Time, `u` MicroTime,
//!   `q` Quantity, `x` IntOrString, `r` RawExtension, `f` FieldsV1, `j` any JSON, `[T` list, `{T` map of strings to T, and
//!   otherwise a type, with `package:` where it lives elsewhere;
//! * numbers: the protobuf field number; `2.19` where JSON inlines a message that protobuf keeps; `-` none; a `w` behind:
//!   each list of strings is a message with one repeated field 1;
//! * attributes: `a`, `s`, `m:keys` the list type; `~key` the merge key; `+merge`, `+replace`, `+retainKeys` the patch
//!   strategy; `&a`, `&g` the map type.

use std::sync::OnceLock;

use rustc_hash::FxHashMap;

/// A Go package: the prefix of its definitions, and the group version of its kinds.
#[derive(Debug)]
pub(crate) struct Package {
    /// `io.k8s.api.apps.v1`.
    pub(crate) definition: &'static str,
    /// `apps/v1`.
    pub(crate) group_version: &'static str,
}

/// An object type.
#[derive(Debug)]
pub(crate) struct Type {
    /// `DeploymentSpec`.
    pub(crate) name: &'static str,
    pub(crate) package: &'static Package,
    /// Whether it is a kind of its package's group version.
    pub(crate) is_kind: bool,
    /// Whether it is a kind of every group version.
    pub(crate) every_group: bool,
    pub(crate) map: MapKind,
    pub(crate) special: Special,
    /// Sorted by name.
    pub(crate) fields: Box<[Field]>,
    /// Sorted by number.
    pub(crate) wire: Box<[WireStep]>,
}

impl Type {
    pub(crate) fn field(&self, name: &str) -> Option<&Field> {
        self.fields.binary_search_by(|field| field.name.cmp(name)).ok().map(|index| &self.fields[index])
    }

    /// The name of the OpenAPI definition.
    pub(crate) fn definition(&self) -> String {
        format!("{}.{}", self.package.definition, self.name)
    }
}

/// A field of an object type.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    pub(crate) required: bool,
    /// A zero (empty string, 0, false) is a value: upstream holds a pointer.
    pub(crate) zero_is_value: bool,
    /// A zero is written out where a value is present.
    pub(crate) zero_is_kept: bool,
    /// An object that upstream holds by value: it writes an empty one where nothing was given.
    pub(crate) always_there: bool,
    /// Protobuf numbers from this type's message down to the field; empty: the field has none.
    pub(crate) numbers: Box<[u32]>,
    /// A list of strings is a message of its own in protobuf.
    pub(crate) wrapped: bool,
    pub(crate) list: ListKind,
    pub(crate) list_keys: Box<[&'static str]>,
    pub(crate) merge_key: Option<&'static str>,
    pub(crate) merge: bool,
    pub(crate) replace: bool,
    pub(crate) retain_keys: bool,
    pub(crate) map: MapKind,
}

/// `x-kubernetes-list-type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListKind {
    Unstated,
    Atomic,
    Set,
    Map,
}

/// `x-kubernetes-map-type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MapKind {
    Unstated,
    Atomic,
    Granular,
}

/// Types whose JSON is not an object with their fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Special {
    None,
    /// A JSON schema or a boolean.
    SchemaOrBool,
    /// A JSON schema or a list of them.
    SchemaOrArray,
    /// A JSON schema or a list of strings.
    SchemaOrStrings,
}

/// What a value looks like.
#[derive(Debug)]
pub(crate) enum Shape {
    String,
    Bytes,
    Bool,
    Int32,
    Int64,
    Double,
    Time,
    MicroTime,
    Quantity,
    IntOrString,
    Raw,
    FieldsV1,
    Json,
    List(Box<Shape>),
    Map(Box<Shape>),
    Object(Box<TypeRef>),
}

/// A reference to a type, resolved when first followed.
#[derive(Debug)]
pub(crate) struct TypeRef {
    package: String,
    name: &'static str,
    found: OnceLock<&'static Type>,
}

impl TypeRef {
    #[cfg(test)]
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn get(&self) -> &'static Type {
        self.found
            .get_or_init(|| super::named(&self.package, self.name).expect("the generator wrote only types that exist"))
    }
}

/// One protobuf field of a message.
#[derive(Debug)]
pub(crate) struct WireStep {
    pub(crate) number: u32,
    pub(crate) node: WireNode,
}

/// What a protobuf field leads to.
#[derive(Debug)]
pub(crate) enum WireNode {
    /// The index of a field of the type.
    Field(usize),
    /// A message whose fields are the type's own in JSON.
    Inlined(Box<[WireStep]>),
}

/// One parsed file.
pub(crate) struct Table {
    pub(crate) types: &'static [Type],
    kinds: FxHashMap<(&'static str, &'static str), usize>,
    names: FxHashMap<(&'static str, &'static str), usize>,
}

impl Table {
    pub(crate) fn kind(&self, group_version: &str, kind: &str) -> Option<&'static Type> {
        self.kinds.get(&(group_version, kind)).map(|index| &self.types[*index])
    }

    pub(crate) fn named(&self, package: &str, name: &str) -> Option<&'static Type> {
        self.names.get(&(package, name)).map(|index| &self.types[*index])
    }

    /// Parses a table. The text is part of the program and was checked by the tests, so a malformed line is a broken
    /// invariant.
    pub(crate) fn parse(text: &'static str) -> Table {
        let mut package: &'static Package = &Package { definition: "", group_version: "-" };
        let mut types: Vec<Type> = Vec::new();
        let mut fields: Vec<Field> = Vec::new();
        let mut lines = text.lines().filter(|line| !line.starts_with('#')).peekable();
        while let Some(line) = lines.next() {
            if let Some(rest) = line.strip_prefix('=') {
                let (definition, group_version) = rest.split_once(' ').expect("a package has two words");
                // One leak per package and process: tables live as long as the program.
                package = Box::leak(Box::new(Package { definition, group_version }));
            } else if let Some(rest) = line.strip_prefix(' ') {
                fields.push(field(rest, package));
            } else {
                types.push(header(line, package));
            }
            if lines.peek().is_none_or(|next| !next.starts_with(' '))
                && let Some(last) = types.last_mut().filter(|_| !fields.is_empty())
            {
                fields.sort_unstable_by_key(|field| field.name);
                last.wire = wire(&fields);
                last.fields = std::mem::take(&mut fields).into_boxed_slice();
            }
        }
        let types: &'static [Type] = Box::leak(types.into_boxed_slice());
        let index = |wanted: fn(&Type) -> bool, key: fn(&Type) -> (&'static str, &'static str)| {
            types
                .iter()
                .enumerate()
                .filter(|(_, found)| wanted(found))
                .map(|(index, found)| (key(found), index))
                .collect()
        };
        Table {
            types,
            kinds: index(|found| found.is_kind, |found| (found.package.group_version, found.name)),
            names: index(|_| true, |found| (found.package.definition, found.name)),
        }
    }
}

fn header(line: &'static str, package: &'static Package) -> Type {
    let mut words = line.split(' ');
    let name = words.next().expect("a line has a word");
    let special = match name {
        "JSONSchemaPropsOrBool" => Special::SchemaOrBool,
        "JSONSchemaPropsOrArray" => Special::SchemaOrArray,
        "JSONSchemaPropsOrStringArray" => Special::SchemaOrStrings,
        _ => Special::None,
    };
    let mut found = Type {
        name,
        package,
        is_kind: false,
        every_group: false,
        map: MapKind::Unstated,
        special,
        fields: Box::default(),
        wire: Box::default(),
    };
    for word in words {
        match word {
            "^" => found.is_kind = true,
            "^*" => found.every_group = true,
            "&a" => found.map = MapKind::Atomic,
            "&g" => found.map = MapKind::Granular,
            other => unreachable!("attribute {other} of {name}"),
        }
    }
    found
}

fn field(line: &'static str, package: &'static Package) -> Field {
    let mut words = line.split(' ');
    let marked = words.next().expect("a field has a name");
    let name = marked.trim_end_matches(['!', '?', '+', '-', '=']);
    let marks = &marked[name.len()..];
    let required = marks.contains('!');
    let shape = shape(words.next().expect("a field has a shape"), package);
    let numbers = words.next().expect("a field has numbers");
    let mut found = Field {
        name,
        shape,
        required,
        zero_is_value: marks.contains('?'),
        zero_is_kept: marks.contains('+') || (required && !marks.contains('-')),
        always_there: marks.contains('='),
        numbers: numbers.trim_end_matches('w').split('.').filter_map(|number| number.parse().ok()).collect(),
        wrapped: numbers.ends_with('w'),
        list: ListKind::Unstated,
        list_keys: Box::default(),
        merge_key: None,
        merge: false,
        replace: false,
        retain_keys: false,
        map: MapKind::Unstated,
    };
    for word in words {
        match word {
            "a" => found.list = ListKind::Atomic,
            "s" => found.list = ListKind::Set,
            "+merge" => found.merge = true,
            "+replace" => found.replace = true,
            "+retainKeys" => found.retain_keys = true,
            "&a" => found.map = MapKind::Atomic,
            "&g" => found.map = MapKind::Granular,
            _ => match (word.strip_prefix("m:"), word.strip_prefix('~')) {
                (Some(keys), _) => {
                    found.list = ListKind::Map;
                    found.list_keys = keys.split(',').collect();
                }
                (_, Some(key)) => found.merge_key = Some(key),
                _ => unreachable!("attribute {word} of {name}"),
            },
        }
    }
    found
}

fn shape(word: &'static str, package: &'static Package) -> Shape {
    if let Some(inner) = word.strip_prefix('[') {
        return Shape::List(Box::new(shape(inner, package)));
    }
    if let Some(inner) = word.strip_prefix('{') {
        return Shape::Map(Box::new(shape(inner, package)));
    }
    match word {
        "s" => Shape::String,
        "B" => Shape::Bytes,
        "b" => Shape::Bool,
        "i" => Shape::Int32,
        "I" => Shape::Int64,
        "d" => Shape::Double,
        "t" => Shape::Time,
        "u" => Shape::MicroTime,
        "q" => Shape::Quantity,
        "x" => Shape::IntOrString,
        "r" => Shape::Raw,
        "f" => Shape::FieldsV1,
        "j" => Shape::Json,
        _ => {
            let (package, name) = match word.split_once(':') {
                Some((elsewhere, name)) => (format!("io.k8s.{elsewhere}"), name),
                None => (package.definition.to_owned(), word),
            };
            Shape::Object(Box::new(TypeRef { package, name, found: OnceLock::new() }))
        }
    }
}

/// The protobuf fields of a type as a tree: most lead straight to a field, an inlined message to several.
fn wire(fields: &[Field]) -> Box<[WireStep]> {
    let mut paths: Vec<(&[u32], usize)> = fields
        .iter()
        .enumerate()
        .filter(|(_, field)| !field.numbers.is_empty())
        .map(|(index, field)| (&*field.numbers, index))
        .collect();
    paths.sort_unstable();
    level(&paths, 0)
}

fn level(paths: &[(&[u32], usize)], depth: usize) -> Box<[WireStep]> {
    paths
        .chunk_by(|left, right| left.0[depth] == right.0[depth])
        .map(|same| {
            let (path, index) = same[0];
            let node = if path.len() == depth + 1 {
                WireNode::Field(index)
            } else {
                WireNode::Inlined(level(same, depth + 1))
            };
            WireStep { number: path[depth], node }
        })
        .collect()
}
