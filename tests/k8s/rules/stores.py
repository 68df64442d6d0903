"""Rules about Kafka and Postgres: what they have acknowledged is still there when a part of them is not."""

from collections.abc import Iterator

from tests.k8s.objects import Objects, describe, dig, find, of_kind
from tests.k8s.rules.settings import settings_of


def copies_are_no_more_than_brokers(objects: Objects) -> Iterator[str]:
    """What the topic is made with, what Kafka makes others with, and the brokers that there are agree."""
    settings = settings_of(objects, "migrate")
    config = find(objects, "Kafka", "redpacket")["spec"]["kafka"]["config"]
    pools = of_kind(objects, "KafkaNodePool")
    brokers = sum(it["spec"]["replicas"] for it in pools if "broker" in it["spec"]["roles"])
    copies, in_sync = settings.kafka_replication, settings.kafka_min_insync
    if copies > brokers or (brokers > 1) != (in_sync > 1) or in_sync >= copies + (copies == 1):
        yield f"{copies} copies, {in_sync} of them in sync, on {brokers} brokers"
    for name, wanted in (
        ("default.replication.factor", copies),
        ("offsets.topic.replication.factor", copies),
        ("transaction.state.log.replication.factor", copies),
        ("min.insync.replicas", in_sync),
        ("transaction.state.log.min.isr", in_sync),
    ):
        if config.get(name) != wanted:
            yield f"Kafka's {name} is {config.get(name)}, not {wanted}"


def kafka_keeps_every_record(objects: Objects) -> Iterator[str]:
    """Nothing is forgotten, nothing led by one who lacks what was acknowledged, nothing made by a wrong name."""
    config = find(objects, "Kafka", "redpacket")["spec"]["kafka"]["config"]
    for name, wanted in (
        ("log.retention.ms", -1),
        ("log.retention.bytes", -1),
        ("unclean.leader.election.enable", False),
        ("auto.create.topics.enable", False),
    ):
        if config.get(name) != wanted:
            yield f"Kafka's {name} is {config.get(name)}, not {wanted}"
    if config.get("log.cleanup.policy", "delete") != "delete":
        yield "Kafka keeps only the last record of a key"
    for pool in of_kind(objects, "KafkaNodePool"):
        if any(it["type"] != "persistent-claim" for it in pool["spec"]["storage"].get("volumes", [{"type": ""}])):
            yield f"{describe(pool)}: a volume that is gone with its pod"
        if pool["metadata"]["labels"].get("strimzi.io/cluster") != "redpacket":
            yield f"{describe(pool)} is of another cluster"


def kafka_nodes_are_on_nodes_of_their_own(objects: Objects) -> Iterator[str]:
    for pool in of_kind(objects, "KafkaNodePool"):
        spread = dig(pool, "spec", "template", "pod", "topologySpreadConstraints") or ()
        own = {"strimzi.io/pool-name": pool["metadata"]["name"]}
        if not any(
            (it["topologyKey"], it["whenUnsatisfiable"]) == ("kubernetes.io/hostname", "DoNotSchedule")
            and it["labelSelector"] == {"matchLabels": own}
            for it in spread
        ):
            yield f"{describe(pool)}: two of it may be on one node"


def one_broker_asks_for_no_zone(objects: Objects) -> Iterator[str]:
    """Where Kafka is told of zones, Strimzi lets its brokers run on nodes that have one, and on no other."""
    kafka = find(objects, "Kafka", "redpacket")
    pools = of_kind(objects, "KafkaNodePool")
    brokers = sum(it["spec"]["replicas"] for it in pools if "broker" in it["spec"]["roles"])
    if (brokers > 1) != (dig(kafka, "spec", "kafka", "rack") is not None):
        yield f"{brokers} brokers, zones: {dig(kafka, 'spec', 'kafka', 'rack')}"


def postgres_keeps_what_it_commits(objects: Objects) -> Iterator[str]:
    """On its own disk and its standby's, and these are never on one node."""
    for cluster in of_kind(objects, "Cluster"):
        parameters = dig(cluster, "spec", "postgresql", "parameters") or {}
        # Postgres's own defaults are `on`.
        for name in ("fsync", "full_page_writes", "synchronous_commit"):
            if parameters.get(name, "on") != "on":
                yield f"{describe(cluster)}: {name} is {parameters[name]}"
        affinity = cluster["spec"].get("affinity", {})
        if cluster["spec"]["instances"] > 1 and (
            affinity.get("enablePodAntiAffinity") is not True
            or affinity.get("podAntiAffinityType") != "required"
            or affinity.get("topologyKey") not in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
        ):
            yield f"{describe(cluster)}: two of it may be on one node: {affinity}"
