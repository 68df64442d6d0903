"""One rule about words: every object has the fields that its kind has, and no others."""

from collections.abc import Iterator

from kubernetes_validate.utils import SchemaNotFoundError, ValidationError, validate

from tests.k8s.objects import Objects, describe

KUBERNETES = "1.37"
# What operators bring along. Their schemas are in no package here: docs/kubernetes.md says what was checked.
CUSTOM = {
    "Cluster": "postgresql.cnpg.io/v1",
    "HTTPRoute": "gateway.networking.k8s.io/v1",
    "Kafka": "kafka.strimzi.io/v1",
    "KafkaNodePool": "kafka.strimzi.io/v1",
    "PodMonitor": "monitoring.coreos.com/v1",
    "PrometheusRule": "monitoring.coreos.com/v1",
    "ScaledObject": "keda.sh/v1alpha1",
}


def objects_are_as_kubernetes_has_them(objects: Objects) -> Iterator[str]:
    for it in objects:
        if CUSTOM.get(it["kind"]) == it["apiVersion"]:
            continue
        try:
            validate(it, KUBERNETES, strict=True)
        except ValidationError as error:
            yield f"{describe(it)}: {'.'.join(map(str, error.absolute_path))}: {error.message}"
        except SchemaNotFoundError as error:
            yield f"{describe(it)}: {error.message}"
