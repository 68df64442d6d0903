"""No rule passes whatever it is shown: each catches an object that somebody has changed."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, NamedTuple

import pytest

from tests.k8s.objects import Object, Objects, describe
from tests.k8s.rules import (
    RULES,
    Rule,
    alarms,
    keys,
    lifecycle,
    network,
    pods,
    redis,
    scale,
    schemas,
    settings,
    stores,
)

_CONTAINER = "spec template spec containers 0"
_KEYS = "spec template spec volumes 0 secret"
_GONE = object()


class Doctored(NamedTuple):
    """What is at `path` (keys and indices) of the object is now `value`, or gone; without a path, the object itself."""

    rule: Rule
    overlay: str
    object: str
    path: str
    value: Any = _GONE


_DOCTORED = (
    Doctored(schemas.objects_are_as_kubernetes_has_them, "dev", "Deployment api", "spec replica", 2),
    Doctored(schemas.objects_are_as_kubernetes_has_them, "dev", "Service api", "spec ports 0 port", "http"),
    Doctored(
        schemas.objects_are_as_kubernetes_has_them, "dev", "Kafka redpacket", "apiVersion", "kafka.strimzi.io/v1beta2"
    ),
    Doctored(pods.pods_are_restricted, "dev", "Deployment api", "spec template spec securityContext runAsNonRoot"),
    Doctored(pods.pods_are_restricted, "dev", "Deployment api", "spec template spec securityContext seccompProfile"),
    Doctored(pods.pods_are_restricted, "dev", "StatefulSet redis", f"{_CONTAINER} securityContext capabilities"),
    Doctored(
        pods.pods_are_restricted, "dev", "StatefulSet redis", f"{_CONTAINER} securityContext readOnlyRootFilesystem"
    ),
    Doctored(
        pods.pods_are_restricted,
        "dev",
        "Job migrate-0.1.0",
        f"{_CONTAINER} securityContext allowPrivilegeEscalation",
        True,
    ),
    Doctored(
        pods.pods_are_restricted,
        "rehearsal",
        "Job rehearsal",
        "spec template spec volumes 1",
        {"hostPath": {"path": "/"}},
    ),
    Doctored(pods.pods_are_restricted, "production", "Kafka redpacket", "spec kafka template initContainer"),
    Doctored(
        pods.pods_are_restricted, "production", "Kafka redpacket", "spec kafka template pod", {"securityContext": {}}
    ),
    Doctored(
        pods.pods_are_restricted, "production", "KafkaNodePool broker", "spec template", {"kafkaContainer": {"env": []}}
    ),
    Doctored(
        pods.namespace_lets_in_only_restricted_pods,
        "dev",
        "Namespace redpacket-dev",
        "metadata labels pod-security.kubernetes.io/enforce",
        "baseline",
    ),
    Doctored(pods.namespace_lets_in_only_restricted_pods, "production", "HTTPRoute api", "metadata namespace"),
    Doctored(
        pods.pods_speak_with_no_kubernetes_api,
        "dev",
        "Deployment api",
        "spec template spec automountServiceAccountToken",
    ),
    Doctored(pods.images_have_a_version, "dev", "Deployment api", f"{_CONTAINER} image", "redpacket:latest"),
    Doctored(pods.images_have_a_version, "dev", "StatefulSet redis", f"{_CONTAINER} image", "valkey/valkey"),
    Doctored(pods.images_have_a_version, "dev", "StatefulSet redis", f"{_CONTAINER} image", "valkey/valkey:9.1"),
    Doctored(pods.images_have_a_version, "dev", "StatefulSet ledger", f"{_CONTAINER} image", "redpacket:0.0.9"),
    Doctored(
        pods.images_have_a_version, "dev", "StatefulSet ledger", f"{_CONTAINER} image", "ghcr.io/us/redpacket:0.0.9"
    ),
    Doctored(
        pods.migration_is_a_new_job_for_each_version,
        "dev",
        "Job migrate-0.1.0",
        f"{_CONTAINER} image",
        "redpacket:0.2.0",
    ),
    Doctored(pods.resources_are_requested, "dev", "Deployment api", f"{_CONTAINER} resources requests cpu"),
    Doctored(pods.resources_are_requested, "dev", "StatefulSet ledger", f"{_CONTAINER} resources limits"),
    Doctored(pods.resources_are_requested, "production", "KafkaNodePool controller", "spec resources"),
    Doctored(pods.probes_look_at_the_process_alone, "dev", "Deployment api", f"{_CONTAINER} startupProbe"),
    Doctored(
        pods.probes_look_at_the_process_alone,
        "dev",
        "StatefulSet ledger",
        f"{_CONTAINER} livenessProbe httpGet path",
        "/healthz/ready",
    ),
    Doctored(
        pods.probes_look_at_the_process_alone,
        "dev",
        "Deployment api",
        f"{_CONTAINER} readinessProbe httpGet port",
        "http",
    ),
    Doctored(
        settings.settings_are_known_and_whole,
        "dev",
        "Deployment api",
        f"{_CONTAINER} env 0",
        {"name": "REDPACKET_POSTGRES", "value": "postgresql://postgres-rw"},
    ),
    Doctored(settings.settings_are_known_and_whole, "dev", "Deployment api", f"{_CONTAINER} envFrom"),
    Doctored(settings.settings_are_known_and_whole, "dev", "Cluster postgres", ""),
    Doctored(settings.settings_are_known_and_whole, "dev", "Deployment api", "spec template spec enableServiceLinks"),
    Doctored(settings.settings_are_known_and_whole, "dev", "StatefulSet ledger", f"{_CONTAINER} env 1"),
    Doctored(
        settings.settings_are_known_and_whole, "dev", "Deployment api", f"{_CONTAINER} ports 1 containerPort", 9101
    ),
    *(
        Doctored(
            settings.settings_are_the_same_for_all,
            "dev",
            "StatefulSet ledger",
            f"{_CONTAINER} env 1",
            {"name": name, "value": value},
        )
        for name, value in (("REDPACKET_CURRENCY", "USD"), ("REDPACKET_SHARDS", "8"), ("REDPACKET_KEYS_DIR", "/other"))
    ),
    Doctored(
        settings.settings_are_the_same_for_all,
        "dev",
        "Deployment api",
        f"{_CONTAINER} envFrom 0 configMapRef name",
        "another",
    ),
    Doctored(
        settings.metrics_are_told_at_their_own_port_alone,
        "dev",
        "Deployment api",
        f"{_CONTAINER} env",
        [
            {"name": f"REDPACKET_{name}", "value": value}
            for name, value in (("POSTGRES_URL", "x"), ("PUBLIC_METRICS", "1"))
        ],
    ),
    Doctored(
        settings.secrets_are_only_referred_to,
        "dev",
        "Deployment api",
        f"{_CONTAINER} env 0",
        {"name": "REDPACKET_POSTGRES_URL", "value": "postgresql://redpacket:password@postgres-rw/redpacket"},
    ),
    Doctored(settings.secrets_are_only_referred_to, "dev", "Service api", "kind", "Secret"),
    Doctored(settings.servers_are_those_of_the_manifests, "dev", "Service redis", "spec ports 0 port", 6380),
    Doctored(
        settings.servers_are_those_of_the_manifests, "dev", "Kafka redpacket", "spec kafka listeners 0 port", 9094
    ),
    *(
        Doctored(
            settings.servers_are_those_of_the_manifests,
            "dev",
            "StatefulSet ledger",
            f"{_CONTAINER} env 1",
            {"name": "REDPACKET_REDIS_URL", "value": url},
        )
        for url in ("redis://redis:6379/1", "redis://redis", "redis://another:6379/0")
    ),
    Doctored(
        settings.commands_are_those_of_the_command_line, "dev", "StatefulSet ledger", f"{_CONTAINER} args 0", "settle"
    ),
    Doctored(settings.commands_are_those_of_the_command_line, "dev", "Deployment api", f"{_CONTAINER} ports", []),
    Doctored(
        settings.commands_are_those_of_the_command_line, "dev", "Deployment api", f"{_CONTAINER} args 1", "--bind"
    ),
    Doctored(
        settings.commands_are_those_of_the_command_line, "dev", "Job migrate-0.1.0", f"{_CONTAINER} args 0", "audit"
    ),
    Doctored(
        settings.commands_are_those_of_the_command_line, "dev", "Deployment api", f"{_CONTAINER} command", ["python"]
    ),
    Doctored(settings.commands_are_those_of_the_command_line, "dev", "Deployment api", f"{_CONTAINER} args 4", "9000"),
    Doctored(
        settings.commands_are_those_of_the_command_line,
        "rehearsal",
        "Job rehearsal",
        f"{_CONTAINER} args 11",
        "/keys/out",
    ),
    Doctored(
        keys.keys_are_there_and_can_be_read,
        "rehearsal",
        "Job rehearsal",
        f"{_CONTAINER} volumeMounts 0 mountPath",
        "/key",
    ),
    Doctored(keys.keys_are_there_and_can_be_read, "dev", "Deployment api", f"{_KEYS} optional", True),
    Doctored(keys.keys_are_there_and_can_be_read, "dev", "Deployment api", f"{_KEYS} defaultMode", 0),
    Doctored(keys.keys_are_there_and_can_be_read, "dev", "StatefulSet ledger", f"{_KEYS} defaultMode", 0o400),
    Doctored(
        keys.keys_are_there_and_can_be_read, "dev", "StatefulSet ledger", "spec template spec securityContext fsGroup"
    ),
    *(
        Doctored(keys.keys_are_there_and_can_be_read, "rehearsal", name, f"{_KEYS} items", items)
        for name, items in (
            ("Deployment api", [{"key": it, "path": it} for it in ("id.key", "split.key")]),
            ("StatefulSet ledger", [{"key": "id.key", "path": "id.key"}, {"key": "split.key", "path": "split"}]),
            ("Job migrate-0.1.0", [{"key": it, "path": it, "mode": 0o400} for it in ("id.key", "split.key")]),
            ("Job rehearsal", [{"key": it, "path": it} for it in ("id.key", "split.key", "jwt_public.pem")]),
        )
    ),
    Doctored(
        lifecycle.grace_is_longer_than_pre_stop_and_drain,
        "dev",
        "Deployment api",
        "spec template spec terminationGracePeriodSeconds",
        23,
    ),
    Doctored(
        lifecycle.grace_is_longer_than_pre_stop_and_drain,
        "dev",
        "StatefulSet ledger",
        "spec template spec terminationGracePeriodSeconds",
        30,
    ),
    Doctored(lifecycle.api_waits_until_nobody_is_sent_to_it, "dev", "Deployment api", f"{_CONTAINER} lifecycle"),
    Doctored(
        lifecycle.a_new_worker_is_ready_before_an_old_one_goes, "dev", "Deployment api", "spec strategy rollingUpdate"
    ),
    Doctored(
        lifecycle.a_new_version_reaches_all_workers,
        "dev",
        "StatefulSet ledger",
        "spec updateStrategy type",
        "OnDelete",
    ),
    Doctored(
        lifecycle.a_new_version_reaches_all_workers,
        "dev",
        "StatefulSet ledger",
        "spec updateStrategy rollingUpdate",
        {"partition": 1},
    ),
    Doctored(lifecycle.workers_leave_a_node_one_by_one, "dev", "PodDisruptionBudget api", "spec maxUnavailable", 0),
    Doctored(lifecycle.workers_leave_a_node_one_by_one, "dev", "PodDisruptionBudget ledger", ""),
    Doctored(
        lifecycle.workers_leave_a_node_one_by_one,
        "dev",
        "PodDisruptionBudget api",
        "spec selector matchLabels app.kubernetes.io/component",
        "redis",
    ),
    Doctored(lifecycle.workers_leave_a_node_one_by_one, "dev", "Cluster postgres", "spec enablePDB"),
    Doctored(lifecycle.workers_are_spread, "dev", "Deployment api", "spec template spec topologySpreadConstraints 1"),
    Doctored(lifecycle.names_lead_somewhere, "dev", "Service api", "spec selector app.kubernetes.io/component", "apis"),
    Doctored(lifecycle.names_lead_somewhere, "dev", "Service api", "spec ports 0 targetPort", "https"),
    Doctored(lifecycle.names_lead_somewhere, "dev", "StatefulSet ledger", "spec serviceName", "ledgers"),
    Doctored(lifecycle.names_lead_somewhere, "production", "HTTPRoute api", "spec rules 0 backendRefs 0 port", 8000),
    Doctored(
        lifecycle.names_lead_somewhere, "production", "PodMonitor redpacket", "spec podMetricsEndpoints 0 port", "http"
    ),
    Doctored(scale.ledger_workers_are_no_more_than_shards, "dev", "StatefulSet ledger", "spec replicas", 17),
    Doctored(
        scale.ledger_workers_are_no_more_than_shards, "production", "ScaledObject ledger", "spec maxReplicaCount", 17
    ),
    Doctored(scale.somebody_is_always_there, "production", "ScaledObject ledger", "spec minReplicaCount", 0),
    Doctored(scale.somebody_is_always_there, "production", "ScaledObject ledger", "spec minReplicaCount"),
    Doctored(scale.somebody_is_always_there, "production", "ScaledObject api", "spec idleReplicaCount", 0),
    Doctored(scale.no_calendar_asks_for_more_than_may_be, "production", "ScaledObject api", "spec maxReplicaCount", 20),
    Doctored(scale.one_hand_scales_each_workload, "production", "StatefulSet ledger", "spec replicas", 2),
    Doctored(scale.one_hand_scales_each_workload, "dev", "StatefulSet ledger", "spec replicas"),
    Doctored(
        scale.one_hand_scales_each_workload,
        "production",
        "ScaledObject ledger",
        "spec scaleTargetRef",
        {"kind": "Deployment", "name": "api"},
    ),
    Doctored(
        scale.postgres_has_connections_for_all,
        "production",
        "Cluster postgres",
        "spec postgresql parameters max_connections",
        "400",
    ),
    *(
        Doctored(scale.the_ledger_is_scaled_by_what_its_shards_wait, "production", "ScaledObject ledger", path, value)
        for path, value in (
            ("metadata namespace", "redpacket-rehearsal"),
            ("spec triggers 0 type", "apache-kafka"),
            ("spec triggers 0 metricType", "Value"),
            ("spec triggers 0 metadata query", 'sum(redpacket_shard_lag_records{namespace="redpacket"})'),
        )
    ),
    Doctored(
        scale.postgres_has_room_for_the_locks_of_years,
        "dev",
        "Cluster postgres",
        "spec postgresql parameters max_locks_per_transaction",
    ),
    Doctored(stores.copies_are_no_more_than_brokers, "production", "KafkaNodePool broker", "spec replicas", 2),
    Doctored(stores.kafka_keeps_every_record, "production", "Kafka redpacket", "spec kafka config log.retention.ms"),
    Doctored(
        stores.copies_are_no_more_than_brokers, "dev", "Kafka redpacket", "spec kafka config min.insync.replicas", 2
    ),
    Doctored(
        stores.kafka_keeps_every_record,
        "production",
        "KafkaNodePool broker",
        "spec storage volumes 0 type",
        "ephemeral",
    ),
    Doctored(
        stores.kafka_keeps_every_record,
        "production",
        "Kafka redpacket",
        "spec kafka config log.cleanup.policy",
        "compact",
    ),
    Doctored(
        stores.kafka_keeps_every_record,
        "production",
        "KafkaNodePool broker",
        "metadata labels strimzi.io/cluster",
        "another",
    ),
    Doctored(
        stores.one_broker_asks_for_no_zone, "dev", "Kafka redpacket", "spec kafka rack", {"topologyKey": "the/zone"}
    ),
    Doctored(stores.one_broker_asks_for_no_zone, "production", "Kafka redpacket", "spec kafka rack"),
    Doctored(
        stores.kafka_nodes_are_on_nodes_of_their_own,
        "production",
        "KafkaNodePool controller",
        "spec template pod topologySpreadConstraints 1",
    ),
    *(
        Doctored(
            stores.postgres_keeps_what_it_commits,
            "production",
            "Cluster postgres",
            f"spec postgresql parameters {name}",
            value,
        )
        for name, value in (
            ("fsync", "off"),
            ("full_page_writes", "off"),
            ("synchronous_commit", "off"),
            ("synchronous_commit", "local"),
        )
    ),
    Doctored(
        stores.postgres_keeps_what_it_commits,
        "production",
        "Cluster postgres",
        "spec affinity podAntiAffinityType",
        "preferred",
    ),
    Doctored(
        stores.postgres_keeps_what_it_commits, "production", "Cluster postgres", "spec affinity enablePodAntiAffinity"
    ),
    Doctored(redis.redis_is_one_process, "dev", "StatefulSet redis", "spec replicas", 2),
    Doctored(
        redis.redis_is_one_process, "dev", "Service redis", "spec selector", {"app.kubernetes.io/component": "redis"}
    ),
    Doctored(redis.redis_is_one_process, "dev", "HorizontalPodAutoscaler api", "spec scaleTargetRef name", "redis"),
    Doctored(redis.redis_is_one_process, "dev", "Deployment api", f"{_CONTAINER} image", "valkey/valkey:9.1"),
    Doctored(redis.redis_keeps_nothing, "dev", "StatefulSet redis", "spec volumeClaimTemplates", [{}]),
    Doctored(redis.redis_keeps_nothing, "dev", "StatefulSet redis", f"{_CONTAINER} command 0", "valkey-sentinel"),
    Doctored(redis.redis_keeps_nothing, "dev", "StatefulSet redis", f"{_CONTAINER} args 8", "--replicaof"),
    Doctored(redis.redis_keeps_nothing, "production", "StatefulSet redis", f"{_CONTAINER} args 3", "yes"),
    Doctored(redis.redis_keeps_nothing, "production", "StatefulSet redis", f"{_CONTAINER} args 5", "allkeys-lru"),
    Doctored(
        redis.redis_is_full_in_the_right_order, "production", "StatefulSet redis", f"{_CONTAINER} args 7", "2700mb"
    ),
    Doctored(
        redis.redis_is_full_in_the_right_order,
        "production",
        "StatefulSet redis",
        f"{_CONTAINER} resources limits memory",
        "3Gi",
    ),
    *(
        Doctored(network.network_lets_through_what_is_needed_and_nothing_else, overlay, f"NetworkPolicy {policy}", "")
        for overlay, policy in (
            ("production", "default-deny"),
            ("production", "dns"),
            ("production", "to-stores"),
            ("production", "to-redis"),
            ("production", "redis"),
            ("production", "kafka"),
            ("production", "postgres"),
            ("production", "gateway-to-api"),
            ("production", "prometheus-to-ops"),
            ("rehearsal", "rehearsal-from"),
            ("rehearsal", "rehearsal-to-api"),
        )
    ),
    Doctored(
        network.network_lets_through_what_is_needed_and_nothing_else,
        "production",
        "NetworkPolicy redis",
        "spec ingress 0 from",
    ),
    Doctored(
        network.network_lets_through_what_is_needed_and_nothing_else,
        "production",
        "NetworkPolicy redis",
        "spec ingress 0 ports 0 protocol",
        "UDP",
    ),
    Doctored(
        network.network_lets_through_what_is_needed_and_nothing_else,
        "production",
        "NetworkPolicy postgres",
        "spec egress 1",
    ),
    Doctored(
        network.network_lets_through_what_is_needed_and_nothing_else,
        "production",
        "NetworkPolicy to-redis",
        "spec egress 0",
        {"ports": [{"port": 443}]},
    ),
    Doctored(
        network.network_lets_through_what_is_needed_and_nothing_else,
        "production",
        "Kafka redpacket",
        "spec kafka listeners 0 networkPolicyPeers",
    ),
    Doctored(
        network.network_lets_through_what_is_needed_and_nothing_else,
        "production",
        "Kafka redpacket",
        "spec kafka listeners 0 type",
        "loadbalancer",
    ),
    Doctored(
        network.policies_are_understood,
        "production",
        "NetworkPolicy redis",
        "spec ingress 0 from",
        [{"ipBlock": {"cidr": "0.0.0.0/0"}}],
    ),
    Doctored(
        network.policies_are_understood,
        "production",
        "NetworkPolicy redis",
        "spec ingress 0 ports 0",
        {"port": 1, "endPort": 65535},
    ),
    Doctored(
        network.policies_are_understood, "production", "NetworkPolicy redis", "spec ingress 0 ports 0 port", "redis"
    ),
    *(
        Doctored(
            network.clients_come_to_what_they_need_and_nothing_else,
            "production",
            "HTTPRoute api",
            "spec rules 0 matches 1 path",
            {"type": "PathPrefix", "value": path},
        )
        for path in ("/", "/metrics")
    ),
    Doctored(
        network.clients_come_to_what_they_need_and_nothing_else,
        "production",
        "HTTPRoute api",
        "spec rules 0 matches 1 path",
    ),
    Doctored(
        network.clients_come_to_what_they_need_and_nothing_else, "production", "HTTPRoute api", "spec rules 0 matches"
    ),
    Doctored(
        alarms.metrics_asked_for_are_told,
        "production",
        "PrometheusRule redpacket",
        "spec groups 0 rules 0 expr",
        "redpacket_shard_opened == 0",
    ),
    Doctored(
        alarms.metrics_asked_for_are_told,
        "production",
        "ScaledObject ledger",
        "spec triggers 0 metadata query",
        "sum(redpacket_lag_records)",
    ),
    Doctored(alarms.alarms_are_those_of_the_guide, "production", "PrometheusRule redpacket", "spec groups 0 rules 2"),
    Doctored(
        alarms.alarms_are_those_of_the_guide,
        "production",
        "PrometheusRule redpacket",
        "spec groups 0 rules 0 annotations runbook",
        "docs/operations.md#a-shard-is-shut",
    ),
    *(
        Doctored(
            alarms.alarms_wait_no_longer_than_the_guide_says,
            "production",
            "PrometheusRule redpacket",
            f"spec groups 0 rules {place} for",
            waits,
        )
        for place, waits in ((0, "1h"), (1, "1m1s"), (2, "30s"))
    ),
    *(
        Doctored(
            alarms.what_is_not_settled_is_an_alarm,
            "production",
            "PrometheusRule redpacket",
            f"spec groups 0 {path}",
            value,
        )
        for path, value in (
            ("rules 6", {"alert": "OutboxOld", "expr": "redpacket_outbox_age_seconds > 5"}),
            ("rules 6 expr", "redpacket_shard_unsettled_age_seconds > 300"),
            ("rules 6 for", "10m"),
        )
    ),
    Doctored(
        alarms.every_shard_is_counted,
        "production",
        "PrometheusRule redpacket",
        "spec groups 0 rules 1 expr",
        "count by (namespace) (count by (namespace, shard) (redpacket_shard_open)) < 8",
    ),
    Doctored(alarms.every_shard_is_counted, "rehearsal", "PrometheusRule redpacket", "metadata namespace", "redpacket"),
)


def _doctor(objects: Objects, case: Doctored) -> list[Object]:
    doctored = deepcopy(list(objects))
    (place,) = (place for place, it in enumerate(doctored) if describe(it) == case.object)
    at: Any = doctored
    *way, last = [place, *(int(key) if key.isdigit() else key for key in case.path.split())]
    for key in way:
        at = at[key]
    if case.value is _GONE:
        del at[last]
    else:
        at[last] = case.value
    return doctored


@pytest.mark.parametrize("case", _DOCTORED, ids=lambda case: f"{case.rule.__name__}-{case.object}-{case.path}")
def test_the_rule_catches(rendered: Mapping[str, Objects], case: Doctored) -> None:
    assert list(case.rule(_doctor(rendered[case.overlay], case)))


def test_every_rule_is_shown_something_to_catch() -> None:
    assert {it.rule for it in _DOCTORED} == set(RULES)
