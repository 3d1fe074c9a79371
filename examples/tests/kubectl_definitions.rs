//! CustomResourceDefinitions by the real kubectl, unmodified, against the standalone cluster.
#![allow(missing_docs)]

mod support;

use std::fs;

use support::Standalone;

const DEFINITION: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: crontabs.stable.example.com}
spec:
  group: stable.example.com
  scope: Namespaced
  names: {plural: crontabs, singular: crontab, kind: CronTab, shortNames: [ct], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    selectableFields: [{jsonPath: .spec.image}]
    additionalPrinterColumns:
    - {name: Spec, type: string, description: When it runs., jsonPath: .spec.cronSpec}
    - {name: Replicas, type: integer, jsonPath: .spec.replicas}
    - {name: Image, type: string, priority: 1, jsonPath: .spec.image}
    - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas, labelSelectorPath: .status.labelSelector}
    schema: &schema
      openAPIV3Schema:
        type: object
        description: CronTab runs things.
        properties:
          spec:
            type: object
            description: What is wanted.
            x-kubernetes-validations: [{rule: "self.replicas <= 10", message: at most ten}]
            properties:
              cronSpec: {type: string, description: "When, in five fields."}
              image: {type: string}
              replicas: {type: integer, default: 1, minimum: 0}
          status: {type: object, properties: {replicas: {type: integer}, labelSelector: {type: string}}}
  - name: v1beta1
    served: true
    storage: false
    deprecated: true
    schema: *schema
"#;
const OBJECT: &str = r#"
apiVersion: stable.example.com/v1
kind: CronTab
metadata: {name: nightly}
spec: {cronSpec: "0 3 * * *", image: "dump:1", replicas: 2}
"#;

#[test]
#[ignore = "needs kubectl"]
fn a_definition_and_its_objects() {
    let cluster = Standalone::start(&["--nodes", "0"]);
    let k = |line: &str| cluster.kubectl(&line.split(' ').collect::<Vec<_>>());
    let says = |line: &str, expected: &str| {
        let printed = k(line).ok();
        assert!(printed.contains(expected), "kubectl {line}\nprints no {expected:?}:\n{printed}");
    };
    let (definition, object) = (cluster.data_dir().join("crd.yaml"), cluster.data_dir().join("object.yaml"));
    fs::write(&definition, DEFINITION).expect("written");
    fs::write(&object, OBJECT).expect("written");
    let (definition, object) = (definition.display(), object.display());

    says(&format!("apply -f {definition}"), "crontabs.stable.example.com created");
    says("wait --for=condition=Established crd/crontabs.stable.example.com", "condition met");
    says(&format!("apply -f {object}"), "crontab.stable.example.com/nightly created");
    says(&format!("apply -f {object}"), "unchanged");
    says(&format!("diff -f {object}"), "");
    says("get ct", "nightly   0 3 * * *   2");
    says("get ct -o wide", "dump:1");
    says("get all", "crontab.stable.example.com/nightly");
    says("get crontabs.v1beta1.stable.example.com nightly -o yaml", "apiVersion: stable.example.com/v1beta1");
    says("get ct --field-selector spec.image=dump:1 -o name", "nightly");
    assert_eq!(k("get ct --field-selector spec.image=dump:2 -o name").ok().trim(), "");
    says("explain crontab.spec.cronSpec", "When, in five fields.");
    says("explain ct --recursive", "replicas");
    says("api-resources --api-group=stable.example.com", "ct");
    says("api-versions", "stable.example.com/v1beta1");
    says("scale ct nightly --replicas=5", "scaled");
    says("get ct nightly -o jsonpath={.spec.replicas}", "5");
    says("patch ct nightly --type=merge -p {\"spec\":{\"image\":\"dump:2\"}}", "patched");
    says("patch ct nightly --type=json -p [{\"op\":\"remove\",\"path\":\"/spec/image\"}]", "patched");
    says("patch ct nightly --subresource=status --type=merge -p {\"status\":{\"replicas\":5}}", "patched");
    says("label ct nightly team=blue", "labeled");
    says("get ct -l team=blue -o name", "nightly");
    says("describe ct nightly", "Cron Spec:  0 3 * * *");
    says(&format!("apply --server-side --force-conflicts -f {object}"), "serverside-applied");
    says("get ct nightly -o jsonpath={.spec.replicas}", "2");
    assert!(k("patch ct nightly --type=merge -p {\"spec\":{\"replicas\":11}}").failed(1).contains("at most ten"));
    assert!(k("patch ct nightly -p {\"spec\":{\"replicas\":3}}").failed(1).contains("merge-patch"));
    fs::write(cluster.data_dir().join("object.yaml"), OBJECT.replace("image:", "imag:")).expect("written");
    assert!(k(&format!("apply -f {object}")).failed(1).contains("unknown field \"spec.imag\""));
    says(&format!("delete -f {definition}"), "deleted");
    assert!(k("get ct").failed(1).contains("the server"));
}
