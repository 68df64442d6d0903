"""Rendered objects, and how to find one's way in them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
Objects = Sequence[Object]


@dataclass(frozen=True)
class Pod:
    """The pods of one workload, as its template has them."""

    workload: Object

    @property
    def name(self) -> str:
        return describe(self.workload)

    @property
    def component(self) -> str:
        return str(self.labels["app.kubernetes.io/component"])

    @property
    def labels(self) -> dict[str, str]:
        """Of the first of them: those of a StatefulSet have their names for a label, which Kubernetes gives them."""
        labels = dict(self.workload["spec"]["template"]["metadata"]["labels"])
        if self.workload["kind"] == "StatefulSet":
            labels["statefulset.kubernetes.io/pod-name"] = f"{self.workload['metadata']['name']}-0"
        return labels

    @property
    def spec(self) -> Object:
        return dict(self.workload["spec"]["template"]["spec"])

    @property
    def containers(self) -> list[Object]:
        return [*self.spec.get("initContainers", ()), *self.spec["containers"]]

    @property
    def main(self) -> Object:
        """The container that the workload is named after."""
        return next(it for it in self.containers if it["name"] == self.component)

    @property
    def ports(self) -> dict[str, int]:
        return {it["name"]: it["containerPort"] for container in self.containers for it in container.get("ports", ())}

    @property
    def serves(self) -> bool:
        """It runs until it is stopped, and others look whether it is well."""
        return str(self.workload["kind"]) != "Job"


def describe(it: Object) -> str:
    return f"{it['kind']} {it['metadata']['name']}"


def of_kind(objects: Objects, *kinds: str) -> Iterator[Object]:
    return (it for it in objects if it["kind"] in kinds)


def find(objects: Objects, kind: str, name: str) -> Object:
    """The one object of this kind and name. Raises LookupError."""
    for it in of_kind(objects, kind):
        if it["metadata"]["name"] == name:
            return it
    raise LookupError(f"there is no {kind} {name}")


def pods(objects: Objects) -> list[Pod]:
    """Of our own workloads; those of Kafka and Postgres are their operators' to make."""
    return [Pod(it) for it in of_kind(objects, "Deployment", "StatefulSet", "Job")]


def dig(it: Any, *path: str) -> Any:
    """What is at `path` in nested mappings; None where it ends before."""
    for key in path:
        it = it.get(key) if isinstance(it, Mapping) else None
    return it


def selects(selector: Object, labels: Mapping[str, str]) -> bool:
    """A label selector; an empty one selects everything."""
    assert selector.keys() <= {"matchLabels", "matchExpressions"}, selector
    expressions = selector.get("matchExpressions", ())
    assert all(it["operator"] == "In" for it in expressions), "only In is understood here"
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(it["key"]) in it["values"] for it in expressions
    )


_UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "kb": 2**10, "mb": 2**20, "gb": 2**30}


def parse_bytes(text: str) -> int:
    """A quantity of memory, as Kubernetes or Redis spells it, in bytes."""
    return int(text[:-2]) * _UNITS[text[-2:]]
