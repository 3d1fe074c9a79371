//! A place in a type, as ownership sees it: what a value there may be, and whether it is owned as one or part by part.

use std::borrow::Cow;
use std::sync::LazyLock;

use serde_json::Value;

use super::element::Element;
use super::problem::Problem;
use crate::facts::{Field, ListKind, MapKind, Shape, Special};
use crate::schema::{Custom, CustomForm, CustomList, Node, Schema};

/// A place in a type.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place<'s> {
    /// In a built-in kind.
    Table(Node, Option<&'static Field>),
    /// In a kind with a schema of its own.
    Custom(&'s Custom),
    /// Without a type: maps are owned key by key, lists as one.
    Deduced,
    /// Without a type, owned as one.
    Whole,
}

/// What a value at a place may be; more than one where the type leaves it open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Atom<'s> {
    pub(crate) scalar: Option<Scalar>,
    pub(crate) list: Option<List<'s>>,
    pub(crate) map: Option<Map<'s>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    Any,
    Number,
    String,
    Bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct List<'s> {
    pub(crate) relation: Relation<'s>,
    pub(crate) element: Place<'s>,
}

/// How the items of a list belong to their owners.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Relation<'s> {
    /// All together.
    Atomic,
    /// Each scalar by itself.
    Set,
    /// Each item, told apart by its keys.
    Keys(Keys<'s>),
}

/// The key fields of a list of type map.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Keys<'s> {
    Table(&'static [&'static str]),
    Custom(&'s [String]),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Map<'s> {
    /// Whether it is owned as one.
    pub(crate) is_atomic: bool,
    at: Place<'s>,
}

/// What a value is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Map,
    Scalar,
    List,
    /// The type has nothing that it could be.
    Nothing,
}

impl<'s> Place<'s> {
    /// The root of a schema; `None`: nothing is known of the type.
    pub(crate) fn of(schema: Option<&'s Schema>) -> Self {
        schema.map_or(Self::Deduced, |schema| schema.place())
    }

    fn table(shape: &'static Shape, field: Option<&'static Field>) -> Self {
        match shape {
            Shape::Object(reference) => Self::Table(Node::Object(reference.get()), field),
            shape => Self::Table(Node::Shape(shape), field),
        }
    }

    /// What a value here may be.
    pub(crate) fn atom(self) -> Atom<'s> {
        let none = Atom { scalar: None, list: None, map: None };
        let map = |is_atomic| Atom { map: Some(Map { is_atomic, at: self }), ..none };
        match self {
            Self::Deduced | Self::Whole => {
                let is_whole = matches!(self, Self::Whole);
                // What is in a list without a type is owned as one, as the list is.
                let list = List { relation: Relation::Atomic, element: Place::Whole };
                Atom { scalar: Some(Scalar::Any), list: Some(list), ..map(is_whole) }
            }
            Self::Table(Node::Object(found), field) => match found.special {
                Special::None => {
                    let stated = field.map_or(MapKind::Unstated, |field| field.map);
                    let stated = if stated == MapKind::Unstated { found.map } else { stated };
                    map(stated == MapKind::Atomic)
                }
                _ => Self::Whole.atom(),
            },
            Self::Table(Node::Shape(shape), field) => match shape {
                Shape::Object(_) => unreachable!("a reference is followed where a place is made"),
                Shape::Map(_) => map(field.is_some_and(|field| field.map == MapKind::Atomic)),
                Shape::Raw | Shape::FieldsV1 => map(false),
                Shape::Json => Self::Whole.atom(),
                Shape::List(inner) => {
                    let relation = match field.map(|field| (field.list, &field.list_keys)) {
                        Some((ListKind::Map, keys)) => Relation::Keys(Keys::Table(keys)),
                        Some((ListKind::Set, _)) => Relation::Set,
                        _ => Relation::Atomic,
                    };
                    Atom { list: Some(List { relation, element: Self::table(inner, None) }), ..none }
                }
                Shape::Bool => Atom { scalar: Some(Scalar::Bool), ..none },
                Shape::Int32 | Shape::Int64 | Shape::Double => Atom { scalar: Some(Scalar::Number), ..none },
                Shape::String | Shape::Bytes => Atom { scalar: Some(Scalar::String), ..none },
                Shape::Time | Shape::MicroTime | Shape::Quantity | Shape::IntOrString => {
                    Atom { scalar: Some(Scalar::Any), ..none }
                }
            },
            Self::Custom(schema) => match &schema.form {
                CustomForm::Anything { preserve: true } => Self::Deduced.atom(),
                CustomForm::Anything { preserve: false } => Self::Whole.atom(),
                CustomForm::Scalar(scalar) => Atom { scalar: Some(*scalar), ..none },
                CustomForm::Object(object) => map(object.is_atomic),
                CustomForm::Metadata => metadata().atom(),
                CustomForm::List(list) => {
                    let relation = match &list.kind {
                        CustomList::Atomic => Relation::Atomic,
                        CustomList::Set => Relation::Set,
                        CustomList::Map(keys) => Relation::Keys(Keys::Custom(keys)),
                    };
                    Atom { list: Some(List { relation, element: Place::Custom(&list.items) }), ..none }
                }
            },
        }
    }
}

/// What all objects have.
fn metadata() -> Place<'static> {
    let found = crate::facts::named("io.k8s.apimachinery.pkg.apis.meta.v1", "ObjectMeta");
    Place::Table(Node::Object(found.expect("the table has it")), None)
}

impl<'s> Atom<'s> {
    /// What a value is taken for. What is not there, or null, is taken for what the type prefers.
    pub(crate) fn kind(&self, value: Option<&Value>) -> Kind {
        let found = match value {
            Some(Value::Number(_) | Value::String(_) | Value::Bool(_)) => self.scalar.map(|_| Kind::Scalar),
            Some(Value::Array(_)) => self.list.map(|_| Kind::List),
            Some(Value::Object(_)) => self.map.map(|_| Kind::Map),
            Some(Value::Null) | None => None,
        };
        found.unwrap_or_else(|| self.preferred())
    }

    /// What the type is, where no value decides.
    pub(crate) fn preferred(&self) -> Kind {
        if self.map.is_some() {
            Kind::Map
        } else if self.scalar.is_some() {
            Kind::Scalar
        } else if self.list.is_some() {
            Kind::List
        } else {
            Kind::Nothing
        }
    }
}

impl<'s> Map<'s> {
    /// The place of a field that the type declares.
    pub(crate) fn declared(&self, name: &str) -> Option<Place<'s>> {
        match self.at {
            Place::Table(Node::Object(found), _) => {
                found.field(name).map(|field| Place::table(&field.shape, Some(field)))
            }
            Place::Custom(Custom { form: CustomForm::Object(object), .. }) => {
                object.properties.get(name).map(Place::Custom)
            }
            _ => None,
        }
    }

    /// The place of whatever the type does not declare; `None`: it allows nothing else.
    pub(crate) fn element(&self) -> Option<Place<'s>> {
        match self.at {
            Place::Table(Node::Shape(Shape::Map(inner)), _) => Some(Place::table(inner, None)),
            Place::Table(Node::Shape(_), _) | Place::Deduced => Some(Place::Deduced),
            Place::Table(Node::Object(_), _) => None,
            Place::Custom(Custom { form: CustomForm::Object(object), .. }) => match &object.additional {
                Some(schema) => Some(Place::Custom(schema)),
                None => (object.preserve || object.properties.is_empty()).then_some(Place::Deduced),
            },
            Place::Whole | Place::Custom(_) => Some(Place::Whole),
        }
    }

    /// The place of a key, declared or not.
    pub(crate) fn field(&self, name: &str) -> Option<Place<'s>> {
        self.declared(name).or_else(|| self.element())
    }

    /// A key as an element; names that a built-in type declares are not copied.
    pub(crate) fn step(&self, name: &str) -> Element {
        match self.at {
            Place::Table(Node::Object(found), _) => match found.field(name) {
                Some(field) => Element::Field(Cow::Borrowed(field.name)),
                None => Element::Field(Cow::Owned(name.to_owned())),
            },
            _ => Element::Field(Cow::Owned(name.to_owned())),
        }
    }

    /// The fields that are there even where nothing was given, as upstream has it, with what they hold then.
    pub(crate) fn always_there(&self) -> impl Iterator<Item = (&'static str, &'static Value)> + use<> {
        let fields: &'static [Field] = match self.at {
            Place::Table(Node::Object(found), _) => &found.fields,
            _ => &[],
        };
        fields.iter().filter_map(|field| Some((field.name, stand_in(field)?)))
    }

    /// What a field holds where nothing was given, if it is one of those.
    pub(crate) fn stand_in(&self, name: &str) -> Option<&'static Value> {
        match self.at {
            Place::Table(Node::Object(found), _) => found.field(name).and_then(stand_in),
            _ => None,
        }
    }

    /// A key as an element, its place, and what it holds where nothing was given: with one look.
    pub(crate) fn look(&self, name: &str) -> (Element, Option<Place<'s>>, Option<&'static Value>) {
        match self.at {
            Place::Table(Node::Object(found), _) => match found.field(name) {
                Some(field) => {
                    let step = Element::Field(Cow::Borrowed(field.name));
                    (step, Some(Place::table(&field.shape, Some(field))), stand_in(field))
                }
                None => (self.step(name), None, None),
            },
            _ => (self.step(name), self.field(name), None),
        }
    }

    /// Whether nothing at all is known of what it holds.
    pub(crate) fn is_deduced(&self) -> bool {
        let has_fields = match self.at {
            Place::Table(Node::Object(_), _) => true,
            Place::Custom(Custom { form: CustomForm::Object(object), .. }) => !object.properties.is_empty(),
            _ => false,
        };
        !has_fields && matches!(self.element(), Some(Place::Deduced))
    }
}

/// An object that upstream holds by value is empty where nothing was given, and a list or map that it always writes is null.
fn stand_in(field: &Field) -> Option<&'static Value> {
    static EMPTY: LazyLock<Value> = LazyLock::new(|| Value::Object(serde_json::Map::new()));
    static NULL: Value = Value::Null;
    match field.shape {
        _ if field.always_there => Some(&EMPTY),
        Shape::List(_) | Shape::Map(_) if field.zero_is_kept => Some(&NULL),
        _ => None,
    }
}

impl<'s> List<'s> {
    /// The element by which an item of a list that is not atomic is known.
    pub(crate) fn step(&self, item: &Value) -> Result<Element, Problem> {
        match self.relation {
            Relation::Atomic => Err(Problem::here("the items of an atomic list have no owners of their own")),
            Relation::Set => match item {
                Value::Object(_) => Err(Problem::here("a list of type set holds an object")),
                Value::Array(_) => Err(Problem::here("a list of type set holds a list")),
                Value::Null => Err(Problem::here("a list of type set holds null")),
                scalar => Ok(Element::Item(scalar.clone())),
            },
            Relation::Keys(keys) => self.key(keys, item),
        }
    }

    fn key(&self, keys: Keys<'s>, item: &Value) -> Result<Element, Problem> {
        let Value::Object(members) = item else {
            return Err(Problem::here("a list of type map holds something that is no object"));
        };
        let mut fields: Vec<(Cow<'static, str>, Value)> = Vec::with_capacity(keys.len());
        for index in 0..keys.len() {
            let name = keys.name(index);
            if let Some(value) = members.get(&*name) {
                fields.push((name, value.clone()));
            } else if let Some(value) = self.default_of(&name) {
                fields.push((name, value));
            }
        }
        if fields.is_empty() {
            let names: Vec<String> = (0..keys.len()).map(|index| format!("{:?}", keys.name(index))).collect();
            let problem = format!("an item of the list has none of its keys [{}]", names.join(" "));
            return Err(Problem::here(problem));
        }
        Ok(Element::key(fields))
    }

    /// What a key has that is left out.
    fn default_of(&self, name: &str) -> Option<Value> {
        match self.element {
            // The one default of a list key in the built-in types.
            Place::Table(..) => (name == "protocol").then(|| "TCP".into()),
            Place::Custom(Custom { form: CustomForm::Object(object), .. }) => {
                object.properties.get(name).and_then(|property| property.default.clone())
            }
            _ => None,
        }
    }
}

impl Keys<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Table(names) => names.len(),
            Self::Custom(names) => names.len(),
        }
    }

    fn name(&self, index: usize) -> Cow<'static, str> {
        match self {
            Self::Table(names) => Cow::Borrowed(names[index]),
            Self::Custom(names) => Cow::Owned(names[index].clone()),
        }
    }
}
