//! Every everyday command of the real kubectl, unmodified, against the standalone cluster: each must succeed and say what it says
//! of the real thing. What is deeper about some of them is in `kubectl.rs`.
#![allow(missing_docs)]

mod support;

use std::fs;

use support::Standalone;

/// Runs each line as a command; it must succeed and print the text behind the arrow.
#[track_caller]
fn all(cluster: &Standalone, lines: &[(&str, &str)]) {
    for (line, expected) in lines {
        let words: Vec<&str> = line.split(' ').collect();
        let printed = cluster.kubectl(&words).ok();
        assert!(printed.contains(expected), "kubectl {line}\nprints no {expected:?}:\n{printed}");
    }
}

const CREATED: [(&str, &str); 27] = [
    ("create namespace demo", "namespace/demo created"),
    ("create deployment web -n demo --image=kore.dev/hello --replicas=2 --port=8080", "deployment.apps/web created"),
    ("create configmap cm -n demo --from-literal=a=b", "configmap/cm created"),
    ("create secret generic secret -n demo --from-literal=a=b", "secret/secret created"),
    (
        "create secret docker-registry reg -n demo --docker-username=u --docker-password=p --docker-email=e@x",
        "secret/reg created",
    ),
    ("create serviceaccount sa -n demo", "serviceaccount/sa created"),
    ("create job job -n demo --image=kore.dev/hello", "job.batch/job created"),
    ("create cronjob cron -n demo --image=kore.dev/hello --schedule=@hourly", "cronjob.batch/cron created"),
    ("create job again -n demo --from=cronjob/cron", "job.batch/again created"),
    ("create role role -n demo --verb=get --resource=pods", "role.rbac.authorization.k8s.io/role created"),
    (
        "create rolebinding binding -n demo --role=role --serviceaccount=demo:sa",
        "rolebinding.rbac.authorization.k8s.io/binding created",
    ),
    (
        "create clusterrole demo --verb=get,list --resource=pods,nodes",
        "clusterrole.rbac.authorization.k8s.io/demo created",
    ),
    (
        "create clusterrolebinding demo --clusterrole=demo --user=bob",
        "clusterrolebinding.rbac.authorization.k8s.io/demo created",
    ),
    ("create service clusterip inside -n demo --tcp=80:8080", "service/inside created"),
    ("create service nodeport port -n demo --tcp=80:8080", "service/port created"),
    ("create service loadbalancer balanced -n demo --tcp=80:8080", "service/balanced created"),
    ("create service externalname outside -n demo --external-name=a.example", "service/outside created"),
    ("create ingress ing -n demo --rule=a.example/path=web:8080,tls=cert", "ingress.networking.k8s.io/ing created"),
    (
        "create poddisruptionbudget pdb -n demo --selector=app=web --min-available=1",
        "poddisruptionbudget.policy/pdb created",
    ),
    ("create priorityclass important --value=1000", "priorityclass.scheduling.k8s.io/important created"),
    ("create quota quota -n demo --hard=cpu=8,pods=50", "resourcequota/quota created"),
    (
        "autoscale deployment web -n demo --min=1 --max=3 --cpu=80%",
        "horizontalpodautoscaler.autoscaling/web autoscaled",
    ),
    ("expose deployment web -n demo --name=exposed --port=80 --target-port=8080", "service/exposed exposed"),
    ("create deployment dry -n demo --image=i --dry-run=server -o yaml", "progressDeadlineSeconds: 600"),
    ("create configmap dry -n demo --from-literal=a=b --dry-run=client -o name", "configmap/dry"),
    (
        "get deployments,configmaps,secrets,jobs,cronjobs,roles,rolebindings,services,ingresses,pdb,quota,hpa -n demo -o wide",
        "deployment.apps/web",
    ),
    (
        "get clusterroles,clusterrolebindings,priorityclasses,csr,apiservices,crd,storageclasses,pv -o name",
        "system-node-critical",
    ),
];

const CHANGED: [(&str, &str); 19] = [
    ("set image deployment/web -n demo hello=kore.dev/hello:2", "image updated"),
    ("set env deployment/web -n demo A=B", "env updated"),
    ("set resources deployment/web -n demo --limits=cpu=200m", "resource requirements updated"),
    ("set serviceaccount deployment/web sa -n demo", "serviceaccount updated"),
    ("set selector service/inside app=other -n demo", "selector updated"),
    ("set subject rolebinding/binding --user=alice -n demo", "subjects updated"),
    ("label deployment web x=y -n demo", "labeled"),
    ("annotate deployment web x=y -n demo", "annotated"),
    ("patch deployment web -n demo -p {\"spec\":{\"replicas\":1}}", "patched"),
    ("patch deployment web -n demo --type=merge -p {\"spec\":{\"replicas\":2}}", "patched"),
    (
        "patch deployment web -n demo --type=json -p [{\"op\":\"replace\",\"path\":\"/spec/replicas\",\"value\":1}]",
        "patched",
    ),
    ("patch deployment web -n demo --subresource=scale --type=merge -p {\"spec\":{\"replicas\":2}}", "patched"),
    ("scale deployment web -n demo --replicas=1 --current-replicas=2", "scaled"),
    ("rollout restart deployment/web -n demo", "restarted"),
    ("rollout undo deployment/web -n demo", "rolled back"),
    ("rollout pause deployment/web -n demo", "paused"),
    ("rollout resume deployment/web -n demo", "resumed"),
    ("rollout history deployment/web -n demo", "REVISION"),
    ("get deployment web -n demo -o jsonpath={.spec.replicas}", "1"),
];

const SHOWN: [(&str, &str); 33] = [
    ("get all -n demo", "deployment.apps/web"),
    ("get deployment web -n demo -o json", "\"kind\": \"Deployment\""),
    ("get deployment web -n demo -o yaml", "kind: Deployment"),
    ("get deployment web -n demo -o name", "deployment.apps/web"),
    ("get deployment web -n demo -o jsonpath={.metadata.name}", "web"),
    ("get deployment web -n demo -o go-template={{.metadata.name}}", "web"),
    ("get deployment web -n demo -o custom-columns=N:.metadata.name,R:.spec.replicas", "web"),
    ("get deployment web -n demo -L x --show-labels", "x=y"),
    ("get configmaps -n demo --sort-by=.metadata.name --field-selector=metadata.name=cm", "cm"),
    ("get deployments -A --chunk-size=1", "web"),
    ("describe deployment web -n demo", "RollingUpdateStrategy"),
    ("describe pdb pdb -n demo", "Min available"),
    ("describe hpa web -n demo", "Max replicas"),
    ("describe quota quota -n demo", "Resource"),
    ("describe ingress ing -n demo", "a.example"),
    ("describe cronjob cron -n demo", "@hourly"),
    ("describe job job -n demo", "Parallelism"),
    ("describe role role -n demo", "pods"),
    ("describe rolebinding binding -n demo", "alice"),
    ("describe service inside -n demo", "app=other"),
    ("describe secret reg -n demo", "kubernetes.io/dockerconfigjson"),
    ("describe node node-1", "Capacity"),
    ("describe namespace demo", "Resource Quotas"),
    ("events -n demo", "REASON"),
    ("api-versions", "autoscaling/v2"),
    ("api-resources -o wide", "horizontalpodautoscalers"),
    ("explain deployment --recursive", "progressDeadlineSeconds"),
    ("explain hpa.spec.metrics", "FIELDS"),
    ("create token sa -n demo", "eyJ"),
    ("auth can-i create pods", "yes"),
    ("auth whoami", "ATTRIBUTE"),
    ("cluster-info", "is running at"),
    ("wait --for=jsonpath={.spec.replicas}=1 deployment/web -n demo --timeout=10s", "condition met"),
];

const NODES: [(&str, &str); 6] = [
    ("cordon node-1", "cordoned"),
    ("uncordon node-1", "uncordoned"),
    ("taint nodes node-1 a=b:NoSchedule", "tainted"),
    ("taint nodes node-1 a=b:NoSchedule-", "untainted"),
    ("label nodes node-1 zone=a", "labeled"),
    ("get nodes -l zone=a -o name", "node/node-1"),
];

#[test]
#[ignore = "needs kubectl"]
fn everyday_commands() {
    let cluster = Standalone::start(&[]);
    all(&cluster, &CREATED);
    all(&cluster, &CHANGED);
    all(&cluster, &SHOWN);
    all(&cluster, &NODES);
    all(&cluster, &[("delete deployment,job,cronjob --all -n demo", "deleted"), ("delete namespace demo", "deleted")]);
}

#[test]
#[ignore = "needs kubectl"]
fn edit_replace_kustomize_and_prune() {
    let cluster = Standalone::start(&["--nodes", "0"]);
    let k = |line: &str| cluster.kubectl(&line.split(' ').collect::<Vec<_>>());
    let dir = cluster.data_dir().join("files");
    fs::create_dir_all(&dir).expect("made");
    let config = |name: &str, value: &str| {
        let text = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, labels: {{set: mine}}}}\ndata: {{key: {value}}}\n"
        );
        fs::write(dir.join(format!("{name}.yaml")), text).expect("written");
    };
    let value = |name: &str| k(&format!("get configmap {name} -o jsonpath={{.data.key}}")).ok();
    let files = dir.display();

    config("one", "first");
    config("two", "first");
    k(&format!("apply -f {files} --prune -l set=mine")).ok();
    fs::remove_file(dir.join("two.yaml")).expect("removed");
    let pruned = k(&format!("apply -f {files} --prune -l set=mine")).ok();
    assert!(pruned.contains("configmap/two pruned"), "{pruned}");
    k("get configmap two").failed(1);

    config("one", "second");
    assert!(k(&format!("replace -f {files}/one.yaml")).ok().contains("configmap/one replaced"));
    assert_eq!(value("one"), "second");
    assert!(k(&format!("replace --force -f {files}/one.yaml")).ok().contains("configmap/one replaced"));

    let editor = dir.join("editor.sh");
    fs::write(&editor, "#!/bin/sh\nexec sed -i 's/key: second/key: third/' \"$1\"\n").expect("written");
    let editor = format!("sh {}", editor.display());
    let edited = cluster
        .kubectl_command(&["edit", "configmap", "one"])
        .env("KUBE_EDITOR", editor)
        .output()
        .expect("kubectl starts");
    let edited = String::from_utf8_lossy(&edited.stdout).into_owned();
    assert!(edited.contains("configmap/one edited"), "{edited}");
    assert_eq!(value("one"), "third");

    let base = dir.join("base");
    fs::create_dir_all(&base).expect("made");
    fs::rename(dir.join("one.yaml"), base.join("one.yaml")).expect("moved");
    fs::write(base.join("kustomization.yaml"), "resources: [one.yaml]\nnamePrefix: my-\n").expect("written");
    assert!(k(&format!("apply -k {}", base.display())).ok().contains("configmap/my-one created"));
    assert!(k(&format!("delete -k {}", base.display())).ok().contains("\"my-one\" deleted"));
}
