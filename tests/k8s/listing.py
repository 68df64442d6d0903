"""What each overlay renders, as docs/kubernetes.md lists it."""

import re
from collections.abc import Mapping

from tests.k8s.objects import Object, Objects, dig

_HASH = re.compile(r"^settings-\w{10}$")


def format_listing(rendered: Mapping[str, Objects]) -> str:
    """A table in Markdown: a row for each object, a column for each overlay."""
    found = {overlay: {_name(it): _number(it) for it in objects} for overlay, objects in rendered.items()}
    names = sorted({name for objects in found.values() for name in objects})
    rows = [("Object", *found), ("---", *("---" for _ in found))]
    rows += [(f"{kind} {name}".strip(), *(of.get((kind, name), "") for of in found.values())) for kind, name in names]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _name(it: Object) -> tuple[str, str]:
    if it["kind"] == "Namespace":
        return "Namespace", ""
    # Its hash says what is in it, which differs.
    return it["kind"], _HASH.sub("settings-HASH", it["metadata"]["name"])


def _number(it: Object) -> str:
    """How many of it there are, where that is a question."""
    spec = it.get("spec", {})
    match it["kind"]:
        case "Namespace":
            return str(it["metadata"]["name"])
        case "Deployment" | "StatefulSet" | "KafkaNodePool":
            return str(spec.get("replicas", "scaled"))
        case "Cluster":
            return str(spec["instances"])
        case "HorizontalPodAutoscaler":
            return f"{spec['minReplicas']}-{spec['maxReplicas']}"
        case "ScaledObject":
            return f"{spec['minReplicaCount']}-{spec['maxReplicaCount']}"
        case "Job":
            return str(dig(spec, "completions") or 1)
        case _:
            return "yes"
