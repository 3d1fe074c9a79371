"""The official Python client against a cluster: python_client.py KUBECONFIG. Ends with 0 if everything is as it should be."""

import sys
import threading
import time

from kubernetes import client, config, dynamic, watch
from kubernetes.client.rest import ApiException

config.load_kube_config(sys.argv[1])
api = client.ApiClient()
core = client.CoreV1Api(api)
NAMESPACE = "python"


def refused(status, call, *args, **kwargs):
    """What the server says to a call that it must refuse."""
    try:
        call(*args, **kwargs)
    except ApiException as error:
        assert error.status == status, f"{status} expected: {error}"
        return error.body
    raise AssertionError(f"{call.__name__} was not refused")


def eventually(check, what):
    until = time.monotonic() + 20
    while not check():
        assert time.monotonic() < until, f"{what} has not come about"
        time.sleep(0.05)


def config_map(name, **data):
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels={"app": "py"}), data=data)


def core_objects():
    core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=NAMESPACE)))
    made = core.create_namespaced_config_map(NAMESPACE, config_map("a", key="1"))
    assert made.metadata.uid and made.metadata.resource_version
    assert "AlreadyExists" in refused(409, core.create_namespaced_config_map, NAMESPACE, config_map("a"))
    assert "NotFound" in refused(404, core.read_namespaced_config_map, "none", NAMESPACE)
    assert "metadata.name" in refused(422, core.create_namespaced_config_map, NAMESPACE, config_map("Not_Good"))
    made.data = {"key": "2"}
    replaced = core.replace_namespaced_config_map("a", NAMESPACE, made)
    assert replaced.data == {"key": "2"}
    assert "Conflict" in refused(409, core.replace_namespaced_config_map, "a", NAMESPACE, made)
    patched = core.patch_namespaced_config_map("a", NAMESPACE, {"data": {"more": "x"}})
    assert patched.data == {"key": "2", "more": "x"}
    dry = core.create_namespaced_config_map(NAMESPACE, config_map("dry"), dry_run="All")
    assert dry.metadata.name == "dry"
    refused(404, core.read_namespaced_config_map, "dry", NAMESPACE)
    core.create_namespaced_config_map(NAMESPACE, config_map("b"))
    listed = core.list_namespaced_config_map(NAMESPACE, label_selector="app=py", limit=1)
    assert len(listed.items) == 1 and listed.metadata._continue
    rest = core.list_namespaced_config_map(NAMESPACE, label_selector="app=py", limit=5, _continue=listed.metadata._continue)
    assert [item.metadata.name for item in rest.items] == ["b"]
    core.delete_collection_namespaced_config_map(NAMESPACE, label_selector="app=py")
    assert not core.list_namespaced_config_map(NAMESPACE, label_selector="app=py").items
    secret = client.V1Secret(metadata=client.V1ObjectMeta(name="s"), string_data={"password": "x"})
    assert core.create_namespaced_secret(NAMESPACE, secret).data == {"password": "eA=="}


def watches():
    start = core.list_namespaced_config_map(NAMESPACE).metadata.resource_version
    seen = []

    def follow():
        stream = watch.Watch()
        for event in stream.stream(core.list_namespaced_config_map, NAMESPACE, resource_version=start, timeout_seconds=20):
            if event["object"].metadata.name == "watched":
                seen.append(event["type"])
            if event["type"] == "DELETED":
                stream.stop()

    follower = threading.Thread(target=follow)
    follower.start()
    core.create_namespaced_config_map(NAMESPACE, config_map("watched"))
    core.patch_namespaced_config_map("watched", NAMESPACE, {"data": {"a": "b"}})
    core.delete_namespaced_config_map("watched", NAMESPACE)
    follower.join(20)
    assert seen == ["ADDED", "MODIFIED", "DELETED"], seen


def workloads():
    apps, batch, autoscaling = client.AppsV1Api(api), client.BatchV1Api(api), client.AutoscalingV1Api(api)
    labels = {"app": "web"}
    template = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels=labels),
        spec=client.V1PodSpec(containers=[client.V1Container(name="c", image="i")]),
    )
    spec = client.V1DeploymentSpec(replicas=0, selector=client.V1LabelSelector(match_labels=labels), template=template)
    apps.create_namespaced_deployment(NAMESPACE, client.V1Deployment(metadata=client.V1ObjectMeta(name="web"), spec=spec))
    assert apps.read_namespaced_deployment_scale("web", NAMESPACE).spec.replicas == 0
    scaled = apps.patch_namespaced_deployment_scale("web", NAMESPACE, {"spec": {"replicas": 0}})
    assert scaled.kind == "Scale"
    eventually(
        lambda: apps.read_namespaced_deployment_status("web", NAMESPACE).status.observed_generation == 1, "a status"
    )
    target = client.V1CrossVersionObjectReference(api_version="apps/v1", kind="Deployment", name="web")
    scaler = client.V1HorizontalPodAutoscalerSpec(max_replicas=3, scale_target_ref=target, target_cpu_utilization_percentage=50)
    scaler = client.V1HorizontalPodAutoscaler(metadata=client.V1ObjectMeta(name="web"), spec=scaler)
    autoscaling.create_namespaced_horizontal_pod_autoscaler(NAMESPACE, scaler)
    newer = client.AutoscalingV2Api(api).read_namespaced_horizontal_pod_autoscaler("web", NAMESPACE)
    assert newer.spec.metrics[0].resource.target.average_utilization == 50
    job = client.V1JobSpec(
        suspend=True,
        template=client.V1PodTemplateSpec(
            spec=client.V1PodSpec(restart_policy="Never", containers=[client.V1Container(name="c", image="i")])
        ),
    )
    batch.create_namespaced_job(NAMESPACE, client.V1Job(metadata=client.V1ObjectMeta(name="job"), spec=job))
    batch.delete_namespaced_job("job", NAMESPACE, propagation_policy="Background")
    rules = [client.V1PolicyRule(api_groups=[""], resources=["pods"], verbs=["get"])]
    rbac = client.RbacAuthorizationV1Api(api)
    rbac.create_namespaced_role(NAMESPACE, client.V1Role(metadata=client.V1ObjectMeta(name="r"), rules=rules))
    assert rbac.read_namespaced_role("r", NAMESPACE).rules[0].verbs == ["get"]
    refused(422, core.create_namespaced_service, NAMESPACE, client.V1Service(metadata=client.V1ObjectMeta(name="s")))
    service = client.V1Service(
        metadata=client.V1ObjectMeta(name="s"), spec=client.V1ServiceSpec(ports=[client.V1ServicePort(port=80)])
    )
    assert core.create_namespaced_service(NAMESPACE, service).spec.cluster_ip


def dynamic_client():
    found = dynamic.DynamicClient(api)
    configs = found.resources.get(api_version="v1", kind="ConfigMap")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "d"}, "data": {"a": "b"}}
    configs.create(body=body, namespace=NAMESPACE)
    applied = configs.server_side_apply(body={**body, "data": {"c": "d"}}, name="d", namespace=NAMESPACE, field_manager="py")
    assert applied.data.to_dict() == {"a": "b", "c": "d"}
    conflict = refused(
        409, configs.server_side_apply, body={**body, "data": {"c": "e"}}, name="d", namespace=NAMESPACE, field_manager="x"
    )
    assert b"FieldManagerConflict" in conflict if isinstance(conflict, bytes) else "FieldManagerConflict" in conflict
    configs.delete(name="d", namespace=NAMESPACE)


def definitions():
    extensions, custom = client.ApiextensionsV1Api(api), client.CustomObjectsApi(api)
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "required": ["color"],
                "properties": {"color": {"type": "string"}, "size": {"type": "integer", "default": 3, "maximum": 9}},
            },
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "crates.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "crates", "singular": "crate", "kind": "Crate"},
            "versions": [
                {"name": "v1", "served": True, "storage": True, "subresources": {"status": {}}, "schema": {"openAPIV3Schema": schema}}
            ],
        },
    }
    extensions.create_custom_resource_definition(definition)

    def established():
        conditions = extensions.read_custom_resource_definition("crates.example.com").status.conditions or []
        return any(one.type == "Established" and one.status == "True" for one in conditions)

    eventually(established, "an established definition")
    where = ("example.com", "v1", NAMESPACE, "crates")
    crate = {"apiVersion": "example.com/v1", "kind": "Crate", "metadata": {"name": "a"}, "spec": {"color": "red"}}
    made = custom.create_namespaced_custom_object(*where, crate)
    assert made["spec"] == {"color": "red", "size": 3}, made
    invalid = {**crate, "metadata": {"name": "b"}, "spec": {"size": 10}}
    told = refused(422, custom.create_namespaced_custom_object, *where, invalid)
    assert "spec.color" in told and "spec.size" in told, told
    custom.patch_namespaced_custom_object(*where, "a", {"spec": {"size": 5}})
    status = custom.patch_namespaced_custom_object_status(*where, "a", {"status": {"ready": True}})
    assert status["status"] == {"ready": True} and status["spec"]["size"] == 5
    names = [event["object"]["metadata"]["name"] for event in
             watch.Watch().stream(custom.list_namespaced_custom_object, *where, timeout_seconds=1)]
    assert names == ["a"], names
    crates = dynamic.DynamicClient(api).resources.get(api_version="example.com/v1", kind="Crate")
    assert crates.get(name="a", namespace=NAMESPACE).spec.size == 5
    applied = crates.server_side_apply(
        body={**crate, "spec": {"color": "blue"}}, name="a", namespace=NAMESPACE, field_manager="py", force_conflicts=True
    )
    assert applied.spec.color == "blue"
    custom.delete_namespaced_custom_object(*where, "a")
    extensions.delete_custom_resource_definition("crates.example.com")
    eventually(
        lambda: "crates.example.com" not in
        [one.metadata.name for one in extensions.list_custom_resource_definition().items], "the end of a definition"
    )
    refused(404, custom.list_namespaced_custom_object, *where)


for part in (core_objects, watches, workloads, dynamic_client, definitions):
    part()
    print(part.__name__, "is as it should be")
core.delete_namespace(NAMESPACE)
eventually(lambda: NAMESPACE not in [one.metadata.name for one in core.list_namespace().items], "the end of a namespace")
