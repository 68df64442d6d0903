"""Rules about numbers: of workers, and of what each of them takes of the stores."""

from collections.abc import Iterator

from redpacket.limits import postgres_connections
from tests.k8s.objects import Object, Objects, describe, dig, find, of_kind, pods
from tests.k8s.rules.settings import settings_of

# Packets, claims, postings, and their indexes: test_days.py counts them. And for how long nobody should have to look.
_RELATIONS_OF_A_DAY, _DAYS = 11, 4 * 365

_BOUNDS = ("minReplicas", "maxReplicas", "minReplicaCount", "maxReplicaCount", "idleReplicaCount")


def numbers_of(objects: Objects, component: str) -> list[int]:
    """Every number of workers that a manifest or an autoscaler may ask for."""
    numbers = [it.workload["spec"].get("replicas", 1) for it in pods(objects) if it.component == component]
    for scaler in _scalers(objects, component):
        spec = scaler["spec"]
        numbers += [spec[it] for it in _BOUNDS if it in spec]
        # KEDA's own default, which no HPA has.
        numbers += [0] if scaler["kind"] == "ScaledObject" and "minReplicaCount" not in spec else []
        numbers += [int(it["metadata"]["desiredReplicas"]) for it in spec.get("triggers", ()) if it["type"] == "cron"]
        numbers += [spec["fallback"]["replicas"]] if "fallback" in spec else []
    return numbers


def _scalers(objects: Objects, component: str) -> list[Object]:
    scalers = of_kind(objects, "HorizontalPodAutoscaler", "ScaledObject")
    return [it for it in scalers if it["spec"]["scaleTargetRef"]["name"] == component]


def ledger_workers_are_no_more_than_shards(objects: Objects) -> Iterator[str]:
    shards = settings_of(objects, "ledger").shards
    if (most := max(numbers_of(objects, "ledger"))) > shards:
        yield f"{most} ledger workers for {shards} partitions"


def somebody_is_always_there(objects: Objects) -> Iterator[str]:
    """Shards that nobody owns are shut, so the lag that would call a worker is told by nobody."""
    for component in ("api", "ledger"):
        if (least := min(numbers_of(objects, component))) < 1:
            yield f"{component}: {least} workers"


def no_calendar_asks_for_more_than_may_be(objects: Objects) -> Iterator[str]:
    """Above its own maximum an autoscaler does not go, whatever its calendar says: silently."""
    for scaler in of_kind(objects, "ScaledObject"):
        most = scaler["spec"]["maxReplicaCount"]
        for trigger in scaler["spec"]["triggers"]:
            if trigger["type"] == "cron" and int(trigger["metadata"]["desiredReplicas"]) > most:
                yield f"{describe(scaler)}: {trigger['metadata']}"


def one_hand_scales_each_workload(objects: Objects) -> Iterator[str]:
    """Two autoscalers undo each other's work, and a number in the manifest undoes it at each apply."""
    for pod in pods(objects):
        scalers = _scalers(objects, pod.component)
        if len(scalers) > 1:
            yield f"{pod.name} is scaled by {', '.join(map(describe, scalers))}"
        if scalers and "replicas" in pod.workload["spec"]:
            yield f"{pod.name} has a number, and is scaled by {describe(scalers[0])}"
        if pod.serves and not scalers and "replicas" not in pod.workload["spec"]:
            yield f"{pod.name}: nobody says how many"
    known = {(it.workload["kind"], it.workload["metadata"]["name"]) for it in pods(objects)}
    for scaler in of_kind(objects, "HorizontalPodAutoscaler", "ScaledObject"):
        target = scaler["spec"]["scaleTargetRef"]
        if (target["kind"], target["name"]) not in known:
            yield f"{describe(scaler)} scales {target}"


def postgres_has_connections_for_all(objects: Objects) -> Iterator[str]:
    """At the most workers of both kinds, while the API is rolled and a quarter of it is there twice."""
    most_api = max(numbers_of(objects, "api")) * 5 // 4
    most_ledger = max(numbers_of(objects, "ledger"))
    wanted = postgres_connections(most_api, most_ledger)
    given = int(find(objects, "Cluster", "postgres")["spec"]["postgresql"]["parameters"]["max_connections"])
    if wanted > given:
        yield f"{most_api} API and {most_ledger} ledger workers may want {wanted} connections of {given}"


def postgres_has_room_for_the_locks_of_years(objects: Objects) -> Iterator[str]:
    """An audit locks the tables and indexes of all days, and may take half of the room (redpacket/books/locks.py)."""
    given = find(objects, "Cluster", "postgres")["spec"]["postgresql"]["parameters"]
    room = int(given["max_connections"]) * int(given.get("max_locks_per_transaction", 64))
    if room < 2 * _RELATIONS_OF_A_DAY * _DAYS:
        yield f"room for {room} locks, and {_DAYS} days have {_DAYS * _RELATIONS_OF_A_DAY} tables and indexes"


def the_ledger_is_scaled_by_what_its_shards_wait(objects: Objects) -> Iterator[str]:
    """By seconds, and those of this namespace's shards. Not by records: the more API workers, the more of them hold the
    same claims. Nor by Kafka, which is not told how far the ledger is."""
    for scaler in _scalers(objects, "ledger"):
        namespace = scaler["metadata"]["namespace"]
        triggers = {it["type"]: it for it in scaler["spec"]["triggers"]}
        if triggers.keys() != {"prometheus", "cron"}:
            yield f"{describe(scaler)}: {triggers.keys()}"
            continue
        query = dig(triggers["prometheus"], "metadata", "query")
        if query.count(f'namespace="{namespace}"') != query.count("{"):
            yield f"{describe(scaler)} asks for others' shards: {query}"
        if not query.startswith("sum(redpacket_shard_unsettled_age_seconds{"):
            yield f"{describe(scaler)} does not ask how long they wait: {query}"
        if "fallback" in scaler["spec"] and dig(triggers["prometheus"], "metricType") != "AverageValue":
            yield f"{describe(scaler)}: KEDA falls back for an AverageValue alone"
