"""Rules about how processes come and go without anybody's noticing."""

from collections.abc import Iterator

from ledger.consume import _SETTLE_TIMEOUT_S as SETTLE_TIMEOUT_S
from redpacket.stack.workers import stop_s
from tests.k8s.objects import Objects, describe, dig, find, of_kind, pods, selects
from tests.k8s.rules.settings import ours, settings_of


def grace_is_longer_than_pre_stop_and_drain(objects: Objects) -> Iterator[str]:
    for pod in ours(objects):
        if pod.component not in ("api", "ledger"):
            continue
        pre_stop_s = dig(pod.main, "lifecycle", "preStop", "sleep", "seconds") or 0
        drain_s = stop_s(f"{pod.component}-0", settings_of(objects, pod.component))
        if pod.component == "ledger":
            drain_s = max(drain_s, SETTLE_TIMEOUT_S)
        if pod.spec.get("terminationGracePeriodSeconds", 30) <= pre_stop_s + drain_s:
            yield f"{pod.name}: killed before {pre_stop_s} + {drain_s} s are over"


def api_waits_until_nobody_is_sent_to_it(objects: Objects) -> Iterator[str]:
    for pod in ours(objects):
        if pod.component == "api" and not dig(pod.main, "lifecycle", "preStop", "sleep", "seconds"):
            yield f"{pod.name}: it is stopped while others still send work there"


def a_new_worker_is_ready_before_an_old_one_goes(objects: Objects) -> Iterator[str]:
    for deployment in of_kind(objects, "Deployment"):
        rolling = dig(deployment, "spec", "strategy", "rollingUpdate") or {}
        if rolling.get("maxUnavailable") != 0 or rolling.get("maxSurge") in (None, 0, "0%"):
            yield f"{describe(deployment)}: {rolling}"


def a_new_version_reaches_all_workers(objects: Objects) -> Iterator[str]:
    """Without anybody's deleting pods by hand."""
    for workload in of_kind(objects, "StatefulSet"):
        update = workload["spec"].get("updateStrategy", {})
        if update.get("type", "RollingUpdate") != "RollingUpdate" or dig(update, "rollingUpdate", "partition"):
            yield f"{describe(workload)}: {update}"


def workers_leave_a_node_one_by_one(objects: Objects) -> Iterator[str]:
    """Both kinds have a budget, and each lets one go: a drain never waits for ever, whatever is not ready."""
    budgets = list(of_kind(objects, "PodDisruptionBudget"))
    for pod in pods(objects):
        own = [it for it in budgets if selects(it["spec"]["selector"], pod.labels)]
        wanted = 1 if pod.component in ("api", "ledger") else 0
        if len(own) != wanted:
            yield f"{pod.name}: {len(own)} budgets"
    for budget in budgets:
        if budget["spec"].get("maxUnavailable") != 1 or "minAvailable" in budget["spec"]:
            yield f"{describe(budget)}: {budget['spec']}"
        if budget["spec"].get("unhealthyPodEvictionPolicy") != "AlwaysAllow":
            yield f"{describe(budget)}: what is not ready keeps its node"
    # CloudNativePG makes budgets by itself, that of a single instance too.
    for cluster in of_kind(objects, "Cluster"):
        if cluster["spec"]["instances"] == 1 and cluster["spec"].get("enablePDB") is not False:
            yield f"{describe(cluster)}: its one instance keeps its node"


def workers_are_spread(objects: Objects) -> Iterator[str]:
    for pod in pods(objects):
        if pod.component not in ("api", "ledger"):
            continue
        spread = pod.spec.get("topologySpreadConstraints", ())
        if {it["topologyKey"] for it in spread} != {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}:
            yield f"{pod.name}: {spread}"
        if not all(selects(it["labelSelector"], pod.labels) for it in spread):
            yield f"{pod.name}: spread from others than its like"


def names_lead_somewhere(objects: Objects) -> Iterator[str]:
    """Selectors select, ports are there, what is scaled, routed to and watched exists."""
    all_pods = pods(objects)
    for pod in all_pods:
        selector = pod.workload["spec"].get("selector")
        if pod.serves and not (selector and selects(selector, pod.labels)):
            yield f"{pod.name}: its selector is not of its pods"
    for service in of_kind(objects, "Service"):
        selected = [it for it in all_pods if service["spec"]["selector"].items() <= it.labels.items()]
        if len(selected) != 1:
            yield f"{describe(service)} selects {[it.name for it in selected]}"
        for port in service["spec"]["ports"]:
            if not all(port["targetPort"] in it.ports for it in selected):
                yield f"{describe(service)}: nobody has the port {port['targetPort']}"
    for workload in of_kind(objects, "StatefulSet"):
        yield from _exists(objects, describe(workload), "Service", workload["spec"]["serviceName"])
    for route in of_kind(objects, "HTTPRoute"):
        for backend in (it for rule in route["spec"]["rules"] for it in rule["backendRefs"]):
            ports = find(objects, "Service", backend["name"])["spec"]["ports"]
            if backend["port"] not in [it["port"] for it in ports]:
                yield f"{describe(route)}: {backend}"
    for monitor in of_kind(objects, "PodMonitor"):
        watched = {it.component for it in all_pods if selects(monitor["spec"]["selector"], it.labels)}
        if watched != {"api", "ledger"} or monitor["spec"]["podMetricsEndpoints"][0]["port"] != "ops":
            yield f"{describe(monitor)} watches {watched}"


def _exists(objects: Objects, who: str, kind: str, name: str) -> Iterator[str]:
    try:
        find(objects, kind, name)
    except LookupError as error:
        yield f"{who}: {error}"
