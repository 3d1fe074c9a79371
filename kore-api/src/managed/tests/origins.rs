//! Every case of upstream's tests is a row of a table, or stands there with the reason why it is not.

use std::collections::BTreeSet;

use super::{cases, folder, tables};

#[test]
fn every_case_of_upstream_is_a_row_or_has_a_reason() {
    let mut expected: BTreeSet<String> = BTreeSet::new();
    for file in std::fs::read_dir(folder()).unwrap() {
        let path = file.unwrap().path();
        if path.to_string_lossy().ends_with("_origins.txt") {
            expected.extend(std::fs::read_to_string(path).unwrap().lines().map(str::to_owned));
        }
    }
    assert!(expected.len() > 300);
    let mut found: BTreeSet<String> = BTreeSet::new();
    let mut uncovered = 0;
    for (name, table) in tables("") {
        let origin = table["origin"].as_str().unwrap_or_else(|| panic!("{name} has no origin"));
        let mut add = |case: &str| assert!(found.insert(format!("{origin} {case}")), "{name}: {case} is there twice");
        cases(&table).for_each(|(case, _)| add(case));
        for case in table["uncovered"].as_array().into_iter().flatten() {
            add(case["case"].as_str().unwrap());
            assert!(!case["reason"].as_str().unwrap_or_default().is_empty(), "{name}: {case} has no reason");
            uncovered += 1;
        }
    }
    let missing: Vec<&String> = expected.difference(&found).collect();
    assert!(missing.is_empty(), "no row and no reason: {missing:#?}");
    let unknown: Vec<&String> = found.difference(&expected).collect();
    assert!(unknown.is_empty(), "no case of upstream: {unknown:#?}");
    println!("{} cases of upstream, {uncovered} of them with a reason why they are no rows", expected.len());
}
