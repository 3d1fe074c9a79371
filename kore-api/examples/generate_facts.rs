//! Writes the tables under `kore-api/src/facts/` from the published facts about the Kubernetes API types.
//!
//! ```text
//! cargo run -p kore-api --example generate_facts -- types-1.37.jsonl wire-only-1.37.jsonl kore-api/src/facts
//! ```
//!
//! The first input holds one JSON object a line for every type that has a JSON schema (fields, list types, merge keys,
//! protobuf numbers), the second the messages that exist in protobuf only. `presence.txt` in the output folder is read as
//! a third input. The output is one text file per API group; its form is described in `src/facts/table.rs`.
//! The generator refuses what it does not understand instead of guessing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

type Types = BTreeMap<String, Value>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [types, wire_only, folder] = &arguments[..] else {
        return Err("usage: generate_facts TYPES.jsonl WIRE-ONLY.jsonl FOLDER".into());
    };
    let folder = Path::new(folder);
    let input = Input {
        types: read(types)?,
        wire_only: read(wire_only)?,
        presence: presence(&std::fs::read_to_string(folder.join("presence.txt"))?),
    };
    let mut files: BTreeMap<&str, String> = BTreeMap::new();
    let mut package = String::new();
    for (name, definition) in &input.types {
        let (home, short) = name.rsplit_once('.').ok_or("a definition without a package")?;
        if letter(name).is_some() {
            continue;
        }
        let file = file_of(home);
        let text = files.entry(file).or_insert_with(|| {
            format!("# Facts of {file}, written by examples/generate_facts.rs. Not edited by hand.\n")
        });
        if package != home {
            package = home.to_owned();
            writeln!(text, "={home} {}", group_version(&input.types, home))?;
        }
        input.write_type(text, home, short, definition)?;
    }
    for (file, text) in &files {
        std::fs::write(folder.join(format!("{file}.txt")), text)?;
        println!("{file:>24}.txt {:>7} bytes", text.len());
    }
    println!("{} types, {} bytes", input.types.len(), files.values().map(String::len).sum::<usize>());
    Ok(())
}

struct Input {
    types: Types,
    wire_only: Types,
    presence: BTreeMap<(String, String), String>,
}

impl Input {
    fn write_type(
        &self,
        text: &mut String,
        home: &str,
        short: &str,
        definition: &Value,
    ) -> Result<(), Box<dyn std::error::Error>> {
        text.push_str(short);
        match &definition["gvk"] {
            Value::Array(_) => text.push_str(" ^"),
            Value::String(many) if many == "many" => text.push_str(" ^*"),
            _ => {}
        }
        match definition["mapType"].as_str() {
            Some("atomic") => text.push_str(" &a"),
            Some("granular") => text.push_str(" &g"),
            Some(other) => return Err(format!("{home}.{short}: map type {other}").into()),
            None => {}
        }
        text.push('\n');
        let required: Vec<&str> =
            definition["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (name, field) in definition["fields"].as_object().into_iter().flatten() {
            let context = format!("{home}.{short}.{name}");
            write!(text, " {name}")?;
            if required.contains(&name.as_str()) {
                text.push('!');
            }
            if let Some(marks) = self.presence.get(&(format!("{home}.{short}"), name.clone())) {
                text.push_str(marks);
            }
            let json = field["t"].as_str().ok_or_else(|| format!("{context}: no type"))?;
            write!(text, " {}", abbreviate(home, json).ok_or_else(|| format!("{context}: type {json}"))?)?;
            match self.numbers(home, definition, name) {
                Some(path) => write!(text, " {}", path.iter().map(u64::to_string).collect::<Vec<_>>().join("."))?,
                None => text.push_str(" -"),
            }
            if let Some(wire) = field["pt"].as_str()
                && self.is_wrapped(home, json, wire)
            {
                text.push('w');
            }
            match field["list"].as_str() {
                Some("atomic") => text.push_str(" a"),
                Some("set") => text.push_str(" s"),
                Some("map") => {
                    let keys: Vec<&str> =
                        field["keys"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                    write!(text, " m:{}", keys.join(","))?;
                }
                Some(other) => return Err(format!("{context}: list type {other}").into()),
                None => {}
            }
            for strategy in field["patch"].as_str().into_iter().flat_map(|patch| patch.split(',')) {
                write!(text, " +{strategy}")?;
            }
            if let Some(key) = field["mergeKey"].as_str() {
                write!(text, " ~{key}")?;
            }
            match field["map"].as_str() {
                Some("atomic") => text.push_str(" &a"),
                Some("granular") => text.push_str(" &g"),
                Some(other) => return Err(format!("{context}: map type {other}").into()),
                None => {}
            }
            text.push('\n');
        }
        Ok(())
    }

    /// The protobuf field numbers from the type's message down to the field: more than one where the field is inlined in
    /// JSON but lives in a message of its own in protobuf.
    fn numbers(&self, home: &str, definition: &Value, name: &str) -> Option<Vec<u64>> {
        if let Some(number) = definition["fields"][name]["pb"].as_u64() {
            return Some(vec![number]);
        }
        let wire_name = wire_name(name);
        for (inner, wire) in definition["wire"].as_object().into_iter().flatten() {
            let number = wire["pb"].as_u64()?;
            if *inner == wire_name {
                return Some(vec![number]);
            }
            let Some((inner_home, message)) = self.message(home, wire["pt"].as_str()?) else {
                continue;
            };
            if let Some(rest) = self.numbers(&inner_home, message, name) {
                return Some([vec![number], rest].concat());
            }
        }
        None
    }

    fn message(&self, home: &str, wire: &str) -> Option<(String, &Value)> {
        let full = match wire.strip_prefix('.') {
            Some(absolute) => absolute.replacen("k8s.io", "io.k8s", 1).replace('_', "-"),
            None => format!("{home}.{wire}"),
        };
        let only = full.replacen("io.k8s", "k8s.io", 1).replace('-', "_");
        let found = self.types.get(&full).or_else(|| self.wire_only.get(&only))?;
        Some((full.rsplit_once('.')?.0.to_owned(), found))
    }

    /// Whether a JSON list of strings is a message with one repeated field `items` in protobuf.
    fn is_wrapped(&self, home: &str, json: &str, wire: &str) -> bool {
        let wire = wire.strip_prefix("map<string, ").and_then(|rest| rest.strip_suffix('>')).unwrap_or(wire);
        json.contains("[string]")
            && self.message(home, wire).is_some_and(|(_, message)| message["fields"]["items"]["pb"] == 1)
    }
}

/// The one-letter name of a scalar or of a type with a form of its own on the wire.
fn letter(definition: &str) -> Option<&'static str> {
    Some(match definition {
        "string" => "s",
        "string:byte" => "B",
        "boolean" => "b",
        "integer:int32" => "i",
        "integer:int64" => "I",
        "number:double" => "d",
        "io.k8s.apimachinery.pkg.apis.meta.v1.Time" => "t",
        "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime" => "u",
        "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1" => "f",
        "io.k8s.apimachinery.pkg.api.resource.Quantity" => "q",
        "io.k8s.apimachinery.pkg.util.intstr.IntOrString" => "x",
        "io.k8s.apimachinery.pkg.runtime.RawExtension" => "r",
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON" => "j",
        _ => return None,
    })
}

fn abbreviate(home: &str, json: &str) -> Option<String> {
    if let Some(inner) = json.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return Some(format!("[{}", abbreviate(home, inner)?));
    }
    if let Some(inner) = json.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        return Some(format!("{{{}", abbreviate(home, inner)?));
    }
    if let Some(letter) = letter(json) {
        return Some(letter.to_owned());
    }
    let (package, name) = json.rsplit_once('.')?;
    if package == home {
        return Some(name.to_owned());
    }
    Some(format!("{}:{name}", package.strip_prefix("io.k8s.")?))
}

/// `$ref` is `ref` and `x-kubernetes-map-type` is `xKubernetesMapType` in protobuf.
fn wire_name(json: &str) -> String {
    let mut words = json.trim_start_matches('$').split('-');
    let mut name = words.next().unwrap_or_default().to_owned();
    for word in words {
        name.push_str(&word[..1].to_uppercase());
        name.push_str(&word[1..]);
    }
    name
}

fn file_of(package: &str) -> &str {
    match package.strip_prefix("io.k8s.api.") {
        Some(rest) => rest.split('.').next().unwrap_or(rest),
        None if package.contains("apiextensions") => "apiextensions",
        None if package.contains("apiregistration") => "apiregistration",
        None => "meta",
    }
}

/// The `group/version` of the kinds in a package; `-` where it has none.
fn group_version(types: &Types, package: &str) -> String {
    let kind = types.iter().find(|(name, definition)| {
        name.rsplit_once('.').is_some_and(|(home, _)| home == package) && definition["gvk"].is_array()
    });
    let Some((_, definition)) = kind else {
        return "-".to_owned();
    };
    let part = |index: usize| definition["gvk"][0][index].as_str().unwrap_or_default().to_owned();
    if part(0).is_empty() { part(1) } else { format!("{}/{}", part(0), part(1)) }
}

fn read(path: &str) -> Result<Types, Box<dyn std::error::Error>> {
    let mut types = Types::new();
    for line in std::fs::read_to_string(path)?.lines() {
        let definition: Value = serde_json::from_str(line)?;
        types.insert(definition["name"].as_str().ok_or("a line without a name")?.to_owned(), definition);
    }
    Ok(types)
}

fn presence(text: &str) -> BTreeMap<(String, String), String> {
    let mut marks = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split(' ');
        let definition = words.next().unwrap_or_default();
        for word in words {
            let name = word.trim_end_matches(['?', '+', '-', '=']);
            marks.insert((definition.to_owned(), name.to_owned()), word[name.len()..].to_owned());
        }
    }
    marks
}
