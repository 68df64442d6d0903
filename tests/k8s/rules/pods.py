"""Rules about every pod: what it may do, what it is given, and who looks whether it is well."""

import re
from collections.abc import Iterator

from redpacket.ops.health import PATHS
from tests.k8s.objects import Object, Objects, Pod, describe, dig, of_kind, pods
from tests.k8s.rules.settings import is_ours

_RESTRICTED_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected"}
_RESTRICTED_VOLUMES |= {"secret"}
# What becomes another image with each release.
_SERIES = re.compile(r"^\d+(\.\d+)?$")


def pods_are_restricted(objects: Objects) -> Iterator[str]:
    """The Pod Security Standard `restricted`, written out; and no container may write to its image."""
    for pod in pods(objects):
        context = pod.spec.get("securityContext", {})
        for field in ("hostNetwork", "hostPID", "hostIPC"):
            if pod.spec.get(field):
                yield f"{pod.name}: {field}"
        for volume in pod.spec.get("volumes", ()):
            if unknown := volume.keys() - {"name"} - _RESTRICTED_VOLUMES:
                yield f"{pod.name}: a volume of {', '.join(unknown)}"
        if context.get("runAsUser") == 0 or context.get("sysctls"):
            yield f"{pod.name}: {context}"
        for container in pod.containers:
            where = f"{pod.name}, container {container['name']}"
            yield from _confined(where, context, container.get("securityContext", {}))
            if not dig(container, "securityContext", "readOnlyRootFilesystem"):
                yield f"{where}: its root file system can be written to"
            if any("hostPort" in port for port in container.get("ports", ())):
                yield f"{where}: a port of its host"
    for kafka in of_kind(objects, "Kafka"):
        for template in ("kafkaContainer", "initContainer"):
            own = dig(kafka, "spec", "kafka", "template", template, "securityContext") or {}
            yield from _confined(f"{describe(kafka)}, {template}", {}, own)
    # In Strimzi a pool's template takes the place of the cluster's; and a pod's context that of the operator's fsGroup,
    # without which Kafka cannot write to its volume.
    for it in of_kind(objects, "Kafka", "KafkaNodePool"):
        set_here = dig(it, "spec", "kafka", "template") or dig(it, "spec", "template") or {}
        if "securityContext" in set_here.get("pod", {}):
            yield f"{describe(it)}: the context of its pods"
        if it["kind"] == "KafkaNodePool" and set_here.keys() & {"kafkaContainer", "initContainer"}:
            yield f"{describe(it)}: containers of its own"


def _confined(where: str, of_pod: Object, own: Object) -> Iterator[str]:
    if own.get("runAsNonRoot", of_pod.get("runAsNonRoot")) is not True:
        yield f"{where}: runAsNonRoot"
    if own.get("runAsUser") == 0:
        yield f"{where}: runs as root"
    if (dig(own, "seccompProfile", "type") or dig(of_pod, "seccompProfile", "type")) != "RuntimeDefault":
        yield f"{where}: seccompProfile"
    if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
        yield f"{where}: privileges"
    if dig(own, "capabilities", "drop") != ["ALL"] or dig(own, "capabilities", "add"):
        yield f"{where}: capabilities"


def namespace_lets_in_only_restricted_pods(objects: Objects) -> Iterator[str]:
    for namespace in of_kind(objects, "Namespace"):
        if namespace["metadata"]["labels"].get("pod-security.kubernetes.io/enforce") != "restricted":
            yield f"{describe(namespace)} lets in others"
    names = {it["metadata"]["name"] for it in of_kind(objects, "Namespace")}
    for it in objects:
        if it["kind"] != "Namespace" and {it["metadata"].get("namespace")} != names:
            yield f"{describe(it)} is in another namespace than {names}"


def pods_speak_with_no_kubernetes_api(objects: Objects) -> Iterator[str]:
    for pod in pods(objects):
        if pod.spec.get("automountServiceAccountToken") is not False:
            yield f"{pod.name} is given a token of the cluster"


def images_have_a_version(objects: Objects) -> Iterator[str]:
    """One that stays: a tag, not `latest`, not a series such as 9.1. All our processes have the same."""
    ours = set()
    for pod in pods(objects):
        for container in pod.containers:
            name, _, tag = container["image"].rpartition(":")
            if not name or not tag or "/" in tag or tag == "latest" or _SERIES.match(tag):
                yield f"{pod.name}: the image {container['image']}"
            if is_ours(container["image"]):
                ours.add(tag)
    if len(ours) > 1:
        yield f"several versions at once: {sorted(ours)}"
    for cluster in of_kind(objects, "Cluster"):
        if "latest" in cluster["spec"]["imageName"] or ":" not in cluster["spec"]["imageName"]:
            yield f"{describe(cluster)}: the image {cluster['spec']['imageName']}"


def migration_is_a_new_job_for_each_version(objects: Objects) -> Iterator[str]:
    (job,) = (pod for pod in pods(objects) if pod.component == "migrate")
    version = job.main["image"].rpartition(":")[2]
    if job.workload["metadata"]["name"] != f"migrate-{version}":
        yield f"{job.name} migrates to {version}"


def resources_are_requested(objects: Objects) -> Iterator[str]:
    """Of every container, with a limit of memory; none of CPU, by which a worker would answer late for no reason."""
    asked = [(f"{pod.name}, {it['name']}", it.get("resources")) for pod in pods(objects) for it in pod.containers]
    asked += [(describe(it), it["spec"].get("resources")) for it in of_kind(objects, "KafkaNodePool", "Cluster")]
    for where, resources in asked:
        if not {"cpu", "memory"} <= (dig(resources, "requests") or {}).keys():
            yield f"{where}: requests"
        if "memory" not in (dig(resources, "limits") or {}):
            yield f"{where}: no limit of memory"


def probes_look_at_the_process_alone(objects: Objects) -> Iterator[str]:
    """Whatever serves has all three, at a port and a path that it answers; to be alive depends on no other system."""
    for pod in pods(objects):
        if not pod.serves:
            continue
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            probe = pod.main.get(kind)
            if probe is None:
                yield f"{pod.name}: no {kind}"
            elif "httpGet" in probe:
                yield from _answered(pod, kind, probe["httpGet"])
            elif dig(probe, "exec", "command") != ["valkey-cli", "ping"]:
                yield f"{pod.name}: {kind} asks {probe}"


def _answered(pod: Pod, kind: str, asked: Object) -> Iterator[str]:
    if asked["path"] not in PATHS or (asked["path"] == "/healthz/ready") != (kind == "readinessProbe"):
        yield f"{pod.name}: {kind} asks {asked['path']}"
    if pod.ports.get(asked["port"], 0) != pod.ports.get("ops"):
        yield f"{pod.name}: {kind} asks at the port {asked['port']}"
