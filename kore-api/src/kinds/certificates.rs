//! CertificateSigningRequest.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use serde_json::Value;

use super::duration;
use super::entry::{AGE, ANYTHING, Entry, NAME, Rules, Title};
use super::field::Field;
use super::names;
use super::row::{Row, list};
use super::shape::object_in;
use crate::error::FieldError;
use crate::object::ResourceType;
use crate::registry::NameRule;

const MIN_SECONDS: i64 = 600;
const MAX_DOMAIN_BYTES: usize = 253;
const MAX_SIGNER_BYTES: usize = 571;

/// What a certificate may be for.
const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

pub(super) static CERTIFICATE_SIGNING_REQUEST: Entry = Entry {
    short_names: &["csr"],
    names: NameRule::PathSegment,
    subresources: &["approval"],
    selectable_fields: &["spec.signerName"],
    columns: &[
        NAME,
        AGE,
        Title("SignerName", "string", "Who is to sign.", 0),
        Title("Requestor", "string", "Who asks.", 0),
        Title("RequestedDuration", "string", "For how long it is asked for.", 0),
        Title("Condition", "string", "What has been decided.", 0),
    ],
    prepare_update: same_spec,
    rules: Rules {
        always,
        status: |new, old| decided(new, old, false),
        approval: |new, old| decided(new, old, true),
        ..ANYTHING
    },
    cells,
    ..Entry::of(ResourceType::of::<CertificateSigningRequest>)
};

/// What was asked for cannot be asked for differently.
fn same_spec(request: &mut Value, old: &Value) {
    if let Some(request) = request.as_object_mut() {
        object_in(request, "spec");
        request.insert("spec".to_owned(), old["spec"].clone());
    }
}

fn always(request: &Field<'_, '_>) {
    let spec = request.get("spec");
    let pem = spec.get("request");
    if let Err(problem) = is_request(pem.text()) {
        pem.report(FieldError::invalid(pem.path(), pem.text(), problem));
    }
    let usages = spec.get("usages");
    if usages.len() == 0 {
        usages.missing("usages must be provided");
    }
    let mut seen = BTreeSet::new();
    for usage in usages.items() {
        usage.one_of(&USAGES);
        if !seen.insert(usage.text()) {
            usage.duplicate();
        }
    }
    let name = spec.get("signerName");
    if name.text() == "kubernetes.io/legacy-unknown" {
        name.invalid("the legacy signerName is not allowed via this API version");
    } else {
        signer(&name);
    }
    let lasts = spec.get("expirationSeconds");
    if lasts.int().is_some_and(|seconds| seconds < MIN_SECONDS) {
        lasts.invalid("may not specify a duration less than 600 seconds (10 minutes)");
    }
}

/// Whether `text` is, in Base64, the PEM form of a request. What is in it, and whether it is signed, is for the signer to see.
fn is_request(text: &str) -> Result<(), &'static str> {
    const NONE: &str = "PEM block type must be CERTIFICATE REQUEST";
    let bytes = STANDARD.decode(text).map_err(|_| NONE)?;
    let pem = std::str::from_utf8(&bytes).map_err(|_| NONE)?;
    let body = pem.split_once("-----BEGIN CERTIFICATE REQUEST-----").ok_or(NONE)?.1;
    let body = body.split_once("-----END CERTIFICATE REQUEST-----").ok_or(NONE)?.0;
    let encoded: String = body.split_whitespace().collect();
    let der = STANDARD.decode(encoded).map_err(|_| NONE)?;
    // A sequence.
    if der.first() == Some(&0x30) { Ok(()) } else { Err("asn1: structure error: tags don't match") }
}

/// A domain, a slash, and a name: `example.com/signer`.
fn signer(name: &Field<'_, '_>) {
    let text = name.text();
    if text.is_empty() {
        name.missing("signerName must be provided");
        return;
    }
    let parts: Vec<&str> = text.split('/').collect();
    let [domain, path] = parts[..] else {
        name.invalid("must be a fully qualified domain and path of the form 'example.com/signer-name'");
        return;
    };
    if domain.len() > MAX_DOMAIN_BYTES {
        name.report(FieldError::too_long(name.path(), MAX_DOMAIN_BYTES));
    }
    let labels = |text: &str, rule: fn(&str) -> Vec<String>| {
        for label in text.split('.') {
            let problems = rule(label);
            for problem in &problems {
                let detail = format!("validating label {label:?}: {problem}");
                name.report(FieldError::invalid(name.path(), text, detail));
            }
            if !problems.is_empty() {
                break;
            }
        }
    };
    labels(domain, names::dns_label);
    if !domain.contains('.') {
        let detail = "should be a domain with at least two segments separated by dots";
        name.report(FieldError::invalid(name.path(), domain, detail));
    }
    labels(path, names::dns_subdomain);
    if text.len() > MAX_SIGNER_BYTES {
        name.report(FieldError::too_long(name.path(), MAX_SIGNER_BYTES));
    }
}

/// What may become of a status: decisions are only added, by those who approve; the certificate is set once, by the signer.
fn decided(new: &Field<'_, '_>, old: &Field<'_, '_>, approving: bool) {
    let (status, before) = (new.get("status"), old.get("status"));
    let (now, were) = (status.get("conditions"), before.get("conditions"));
    conditions(&now);
    let of = |conditions: &Field<'_, '_>, kind: &str| -> Vec<Value> {
        list(conditions.value()).iter().filter(|one| one["type"] == kind).cloned().collect()
    };
    for kind in ["Approved", "Denied", "Failed"] {
        if of(&now, kind).len() < of(&were, kind).len() {
            now.forbidden(format!("updates may not remove a condition of type {kind:?}"));
        }
    }
    for kind in ["Approved", "Denied"] {
        let (is, was) = (of(&now, kind), of(&were, kind));
        if approving || is.len() < was.len() {
            continue;
        }
        if is.len() > was.len() {
            now.forbidden(format!("updates may not add a condition of type {kind:?}"));
        } else if is != was {
            now.forbidden(format!("updates may not modify a condition of type {kind:?}"));
        }
    }
    let (certificate, was) = (status.get("certificate"), before.get("certificate"));
    if certificate.text() != was.text() {
        if approving {
            certificate.forbidden("updates may not set certificate content");
        } else if !was.text().is_empty() {
            certificate.forbidden("updates may not modify existing certificate content");
        }
        let pem = STANDARD.decode(certificate.text()).unwrap_or_default();
        if !String::from_utf8_lossy(&pem).contains("-----BEGIN CERTIFICATE-----") {
            let detail = "must contain at least one CERTIFICATE PEM block";
            certificate.report(FieldError::invalid(certificate.path(), "<certificate data>", detail));
        }
    }
}

fn conditions(conditions: &Field<'_, '_>) {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for condition in conditions.items() {
        let (kind, status) = (condition.get("type"), condition.get("status"));
        kind.required();
        let is_decision = matches!(kind.text(), "Approved" | "Denied" | "Failed");
        status.required_one_of(if is_decision { &["True"] } else { &["False", "True", "Unknown"] });
        let other = if kind.text() == "Approved" { "Denied" } else { "Approved" };
        if matches!(kind.text(), "Approved" | "Denied") && seen.contains(other) {
            kind.invalid("Approved and Denied conditions are mutually exclusive");
        }
        if !seen.insert(kind.value().as_str().unwrap_or_default()) {
            kind.duplicate();
        }
    }
}

fn cells(row: &Row<'_>) -> Vec<Value> {
    let has = |kind: &str| row.items("/status/conditions").iter().any(|condition| condition["type"] == kind);
    let mut state = match (has("Denied"), has("Approved")) {
        (true, _) => "Denied",
        (_, true) => "Approved",
        _ => "Pending",
    }
    .to_owned();
    if has("Failed") {
        state.push_str(",Failed");
    }
    if !row.text("/status/certificate").is_empty() {
        state.push_str(",Issued");
    }
    let lasts = row.at("/spec/expirationSeconds").as_i64();
    vec![
        row.name(),
        row.age(),
        super::row::or_none(row.text("/spec/signerName")),
        row.text("/spec/username").into(),
        lasts.map_or_else(|| "<none>".to_owned(), duration::human).into(),
        state.into(),
    ]
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::kinds::testing::{cells, errors, errors_of_status, with};
    use crate::registry::Transition;
    use serde_json::json;

    /// A request for a certificate of a client.
    pub(in crate::kinds) fn request() -> Value {
        let der = STANDARD.encode([0x30, 0x00]);
        let pem = format!("-----BEGIN CERTIFICATE REQUEST-----\n{der}\n-----END CERTIFICATE REQUEST-----\n");
        json!({"metadata": {"name": "a"}, "spec": {
            "request": STANDARD.encode(pem), "usages": ["client auth"], "signerName": "kubernetes.io/kube-apiserver-client",
        }})
    }

    #[test]
    fn what_a_request_may_not_say() {
        for (changes, expected) in [
            (json!({}), vec![]),
            (
                json!({"usages": ["client auth", "client auth"], "expirationSeconds": 5}),
                vec![
                    "spec.usages[1]: Duplicate value: \"client auth\"",
                    "spec.expirationSeconds: Invalid value: 5: may not specify a duration less than 600 seconds (10 minutes)",
                ],
            ),
            (
                json!({"request": "eA==", "usages": null}),
                vec![
                    "spec.request: Invalid value: \"eA==\": PEM block type must be CERTIFICATE REQUEST",
                    "spec.usages: Required value: usages must be provided",
                ],
            ),
            (
                json!({"signerName": "signer"}),
                vec![
                    "spec.signerName: Invalid value: \"signer\": must be a fully qualified domain and path of the form \
                     'example.com/signer-name'",
                ],
            ),
            (
                json!({"signerName": "example/signer"}),
                vec![
                    "spec.signerName: Invalid value: \"example\": should be a domain with at least two segments separated by dots",
                ],
            ),
        ] {
            let object = with(&request(), &json!({"spec": changes}));
            assert_eq!(errors(&CERTIFICATE_SIGNING_REQUEST, &object), expected, "{changes}");
        }
    }

    #[test]
    fn who_approves_and_who_signs() {
        let old = request();
        let approved = with(&old, &json!({"status": {"conditions": [{"type": "Approved", "status": "True"}]}}));
        let approve = |new: &Value, old: &Value| -> Vec<String> {
            let transition = Transition { new, old: Some(old), subresource: "approval" };
            let found = CERTIFICATE_SIGNING_REQUEST.info().strategy.validate(&transition);
            found.iter().map(ToString::to_string).collect()
        };
        let sign = |new: &Value, old: &Value| errors_of_status(&CERTIFICATE_SIGNING_REQUEST, new, old);
        assert_eq!(approve(&approved, &old), [""; 0]);
        assert_eq!(
            sign(&approved, &old),
            ["status.conditions: Forbidden: updates may not add a condition of type \"Approved\""]
        );
        assert_eq!(
            approve(&old, &approved),
            ["status.conditions: Forbidden: updates may not remove a condition of type \"Approved\""]
        );
        let certificate = STANDARD.encode("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n");
        let issued = with(&approved, &json!({"status": {"certificate": certificate}}));
        assert_eq!(sign(&issued, &approved), [""; 0]);
        assert_eq!(
            approve(&issued, &approved),
            ["status.certificate: Forbidden: updates may not set certificate content"]
        );
        let both = with(
            &old,
            &json!({"status": {"conditions": [
            {"type": "Approved", "status": "True"}, {"type": "Denied", "status": "False"}]}}),
        );
        assert_eq!(
            approve(&both, &old),
            [
                "status.conditions[1].status: Unsupported value: \"False\": supported values: \"True\"",
                "status.conditions[1].type: Invalid value: \"Denied\": Approved and Denied conditions are mutually exclusive",
            ]
        );
        assert_eq!(cells(&CERTIFICATE_SIGNING_REQUEST, &issued)[4..], ["<none>", "Approved,Issued"].map(Value::from));
        assert_eq!(cells(&CERTIFICATE_SIGNING_REQUEST, &old)[5], "Pending");
    }
}
