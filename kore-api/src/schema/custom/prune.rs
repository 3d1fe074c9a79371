//! Drops what a schema does not know.

use serde_json::Value;

use super::{Custom, CustomForm};

/// What every object of the API has, and an embedded one too.
const TYPE_AND_METADATA: [&str; 3] = ["apiVersion", "kind", "metadata"];

pub(super) fn prune(root: &Custom, object: &mut Value) -> Vec<String> {
    let mut dropped = Vec::new();
    node(root, object, Path::Root, &mut dropped);
    dropped
}

/// Where a value stands: a list from the inside out, so that nothing is built where nothing is dropped.
#[derive(Clone, Copy)]
enum Path<'a> {
    Root,
    Field(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, usize),
}

impl Path<'_> {
    fn text(self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Field(Self::Root, name) => name.to_owned(),
            Self::Field(outer, name) => format!("{}.{name}", outer.text()),
            Self::Item(outer, index) => format!("{}[{index}]", outer.text()),
        }
    }
}

fn node(schema: &Custom, value: &mut Value, path: Path<'_>, dropped: &mut Vec<String>) {
    match (&schema.form, value) {
        (CustomForm::Object(object), Value::Object(members)) => {
            let before = dropped.len();
            let mut unknown: Vec<String> = Vec::new();
            for (name, member) in members.iter_mut() {
                let here = Path::Field(&path, name);
                match (object.properties.get(name), &object.additional) {
                    (Some(property), _) => node(property, member, here, dropped),
                    (None, _) if schema.is_embedded && TYPE_AND_METADATA.contains(&&**name) => {}
                    (None, Some(additional)) => node(additional, member, here, dropped),
                    (None, None) if object.preserve => {}
                    (None, None) => {
                        dropped.push(here.text());
                        unknown.push(name.clone());
                    }
                }
            }
            if dropped.len() > before {
                members.retain(|name, _| !unknown.contains(name));
            }
        }
        (CustomForm::List(list), Value::Array(items)) => {
            for (index, item) in items.iter_mut().enumerate() {
                node(&list.items, item, Path::Item(&path, index), dropped);
            }
        }
        _ => {}
    }
}
