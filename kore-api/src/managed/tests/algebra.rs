//! What holds of any sets of paths, and of their texts.

use std::borrow::Cow;
use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use crate::managed::Filter;
use crate::managed::compare::Comparison;
use crate::managed::element::Element;
use crate::managed::fields_v1;
use crate::managed::set::FieldSet;

type Path = Vec<Element>;

/// A name, often an odd one.
fn name() -> impl Strategy<Value = String> {
    let odd =
        vec!["", ".", "a.b", "f:a", "v:1", "a\"b", "\\", "\n", "\u{0}", "\u{7f}", "\u{2028}", "é", "🦀", " ", "{}"];
    prop_oneof![2 => select(odd).prop_map(String::from), 3 => "[a-c]", 1 => any::<String>()]
}

/// A value of a key or of an item.
fn scalar() -> impl Strategy<Value = Value> {
    let halves = (-4..4_i32).prop_map(|number| json!(f64::from(number) / 2.0));
    let whole = select(vec![json!(0), json!(1), json!(-1), json!(i64::MAX), json!(i64::MIN), json!(u64::MAX)]);
    prop_oneof![whole, halves, name().prop_map(Value::from), any::<bool>().prop_map(Value::from), Just(Value::Null)]
}

fn element() -> impl Strategy<Value = Element> {
    let keys = prop::collection::btree_map(name(), scalar(), 1..3);
    let key = |fields: std::collections::BTreeMap<String, Value>| {
        Element::key(fields.into_iter().map(|(name, value)| (Cow::Owned(name), value)).collect())
    };
    prop_oneof![
        4 => name().prop_map(|name| Element::Field(Cow::Owned(name))),
        2 => keys.prop_map(key),
        2 => scalar().prop_map(Element::Item),
        1 => prop_oneof![0..3_i64, any::<i64>()].prop_map(Element::Index),
    ]
}

/// Paths, many of which begin alike.
fn paths() -> impl Strategy<Value = Vec<Path>> {
    vec(element(), 1..5).prop_flat_map(|few| {
        let step = prop_oneof![4 => select(few), 1 => element()];
        vec(vec(step, 1..4), 0..12)
    })
}

fn set_of(paths: &[Path]) -> FieldSet {
    let mut set = FieldSet::default();
    paths.iter().for_each(|path| set.insert_path(path));
    set
}

fn model_of(paths: &[Path]) -> BTreeSet<Path> {
    paths.iter().cloned().collect()
}

/// The set with these members and nothing else, found member by member.
fn is(set: &FieldSet, model: &BTreeSet<Path>) -> Result<(), TestCaseError> {
    let expected: Vec<Path> = model.iter().cloned().collect();
    prop_assert_eq!(set.paths(), expected.clone());
    prop_assert_eq!(set.len(), model.len());
    prop_assert_eq!(set.is_empty(), model.is_empty());
    // What holds the same members is the same: there is nothing else in a set.
    prop_assert_eq!(set, &set_of(&expected));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sets_are_sets(left in paths(), right in paths()) {
        let (here, there) = (set_of(&left), set_of(&right));
        let (left, right) = (model_of(&left), model_of(&right));
        is(&here, &left)?;
        is(&here.union(&there), &(&left | &right))?;
        is(&here.intersection(&there), &(&left & &right))?;
        is(&here.difference(&there), &(&left - &right))?;
        let is_below = |path: &Path| (1..=path.len()).any(|end| right.contains(&path[..end]));
        is(&here.recursive_difference(&there), &left.iter().filter(|path| !is_below(path)).cloned().collect())?;
        let is_leaf = |path: &Path| !left.iter().any(|other| other.len() > path.len() && other.starts_with(path));
        is(&here.leaves(), &left.iter().filter(|path| is_leaf(path)).cloned().collect())?;
        for path in left.iter().chain(&right) {
            prop_assert_eq!(here.contains_path(path), left.contains(path));
            prop_assert_eq!(here.below(&path[0]).contains_path(&path[1..]), path.len() > 1 && left.contains(path));
        }
    }

    #[test]
    fn the_laws_of_sets_hold(one in paths(), two in paths(), three in paths()) {
        let (one, two, three) = (set_of(&one), set_of(&two), set_of(&three));
        let nothing = FieldSet::default();
        prop_assert_eq!(one.union(&two), two.union(&one));
        prop_assert_eq!(one.intersection(&two), two.intersection(&one));
        prop_assert_eq!(one.union(&two).union(&three), one.union(&two.union(&three)));
        prop_assert_eq!(one.intersection(&two).intersection(&three), one.intersection(&two.intersection(&three)));
        prop_assert_eq!(one.intersection(&two.union(&three)), one.intersection(&two).union(&one.intersection(&three)));
        prop_assert_eq!(one.union(&two.intersection(&three)), one.union(&two).intersection(&one.union(&three)));
        prop_assert_eq!(one.difference(&two.union(&three)), one.difference(&two).difference(&three));
        prop_assert_eq!(one.difference(&two).union(&one.intersection(&two)), one.clone());
        prop_assert_eq!(one.difference(&two).intersection(&two), nothing.clone());
        for same in [one.union(&one), one.intersection(&one), one.union(&nothing), one.difference(&nothing)] {
            prop_assert_eq!(&same, &one);
        }
        for none in [one.difference(&one), one.intersection(&nothing), nothing.difference(&one)] {
            prop_assert_eq!(none, nothing.clone());
        }
        prop_assert_eq!(one.recursive_difference(&two).intersection(&one.difference(&two)), one.recursive_difference(&two));
        prop_assert_eq!(one.leaves().leaves(), one.leaves());
        let changes = Comparison { added: one.clone(), removed: two.clone(), modified: three.clone() };
        let left = Filter::Without(two.clone()).comparison(changes);
        prop_assert_eq!(left.added, one.recursive_difference(&two));
        prop_assert_eq!(left.modified, three.recursive_difference(&two));
        prop_assert_eq!(left.removed, nothing);
    }

    #[test]
    fn what_is_written_is_read(paths in paths()) {
        let set = set_of(&paths);
        let text = fields_v1::text(&set);
        let read = fields_v1::read(text.as_bytes()).map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
        prop_assert_eq!(&read, &set);
        prop_assert_eq!(fields_v1::text(&read), text);
    }

    #[test]
    fn elements_have_one_order_and_one_text(one in element(), two in element(), three in element()) {
        let mut text = String::new();
        one.write(&mut text);
        prop_assert_eq!(Element::parse(&text), Ok(Some(one.clone())));
        prop_assert_eq!(one.cmp(&two), two.cmp(&one).reverse());
        prop_assert_eq!(one == two, one.cmp(&two).is_eq());
        let mut sorted = [&one, &two, &three];
        sorted.sort();
        prop_assert!(sorted[0] <= sorted[1] && sorted[1] <= sorted[2] && sorted[0] <= sorted[2]);
    }
}
