//! Sets that were written when the type was another: what is owned as one now was owned part by part then.

use super::element::Element;
use super::place::{Kind, Place, Relation};
use super::set::FieldSet;

/// The set as the type has it now; `None`: nothing changes.
pub(crate) fn reconcile(place: Place<'_>, set: &FieldSet) -> Option<FieldSet> {
    match visit(place, set, false) {
        Outcome::Same | Outcome::Whole => None,
        Outcome::Changed(set) => Some(set),
    }
}

enum Outcome {
    Same,
    /// What is below has changed.
    Changed(FieldSet),
    /// Owned as one now.
    Whole,
}

/// `is_leaf`: the place itself is owned, and nothing below it.
fn visit(place: Place<'_>, set: &FieldSet, is_leaf: bool) -> Outcome {
    let atom = place.atom();
    match atom.preferred() {
        Kind::Map => {
            let map = atom.map.expect("the kind says so");
            if map.is_deduced() {
                return Outcome::Same;
            }
            if map.is_atomic {
                return if is_leaf || set.is_empty() { Outcome::Same } else { Outcome::Whole };
            }
            children(set, |element| match element {
                Element::Field(name) => map.field(name),
                _ => map.element(),
            })
        }
        Kind::List => {
            let list = atom.list.expect("the kind says so");
            if matches!(list.relation, Relation::Atomic) {
                return if is_leaf { Outcome::Same } else { Outcome::Whole };
            }
            children(set, |_| Some(list.element))
        }
        Kind::Scalar | Kind::Nothing => Outcome::Same,
    }
}

fn children<'s>(set: &FieldSet, place_of: impl Fn(&Element) -> Option<Place<'s>>) -> Outcome {
    let mut changed: Option<FieldSet> = None;
    for (element, is_member, below) in set.children() {
        let Some(place) = place_of(element) else {
            continue;
        };
        let outcome = visit(place, below, is_member && below.is_empty());
        let (is_member, below) = match outcome {
            Outcome::Same => continue,
            Outcome::Changed(below) => (is_member, below),
            Outcome::Whole => (true, FieldSet::default()),
        };
        let mut only = FieldSet::default();
        only.insert(element.clone());
        let rest = changed.as_ref().unwrap_or(set).recursive_difference(&only);
        let mut new = FieldSet::default();
        if is_member {
            new.insert(element.clone());
        }
        new.add_below(element.clone(), below);
        changed = Some(rest.union(&new));
    }
    changed.map_or(Outcome::Same, Outcome::Changed)
}
