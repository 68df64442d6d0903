"""Rules about what Prometheus is asked: metrics that there are, alarms that the operations guide names."""

import re
from collections.abc import Iterator

from prometheus_client.metrics import MetricWrapperBase

from redpacket.ops import metrics
from tests.k8s.objects import Object, Objects, describe, of_kind
from tests.k8s.render import ROOT
from tests.k8s.rules.settings import settings_of

_NAME = re.compile(r"redpacket_[a-z_]+")
_ALARM_ROW = re.compile(r"^\| (.*?) \| \*\*alarm: (.*?)\*\*", re.MULTILINE)
_TIME = re.compile(r"for (?:more than )?(\d+ s|a minute)")
_UNITS_S = {"s": 1, "m": 60, "h": 3600}
_SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def told_metrics() -> set[str]:
    """The names of the series that our processes tell, as redpacket/ops/metrics.py lists them."""
    listed = [it for it in vars(metrics).values() if isinstance(it, MetricWrapperBase)]
    return {
        described.name + suffix for it in listed for described in it.describe() for suffix in _SUFFIXES[described.type]
    }


def alarms_of_the_guide() -> dict[str, int]:
    """The most seconds that an alarm of docs/operations.md waits, by its metric; of a row with several, the last."""
    rows = _ALARM_ROW.findall((ROOT / "docs" / "operations.md").read_text())
    return {_NAME.findall(names)[-1]: max(map(_seconds, _TIME.findall(text)), default=0) for names, text in rows}


def _seconds(text: str) -> int:
    """Of `30 s`, `a minute`, or as Prometheus spells it, `1m30s`."""
    spelt = text.replace("a minute", "1m").replace(" ", "")
    return sum(int(number) * _UNITS_S[unit] for number, unit in re.findall(r"(\d+)([smh])", spelt))


def metrics_asked_for_are_told(objects: Objects) -> Iterator[str]:
    told = told_metrics()
    for who, expression in _expressions(objects):
        if unknown := set(_NAME.findall(expression)) - told:
            yield f"{who} asks for {unknown}"


def alarms_are_those_of_the_guide(objects: Objects) -> Iterator[str]:
    rules = _alarms(objects)
    if not rules:
        return
    raised = {name for rule in rules for name in _NAME.findall(rule["expr"])}
    for name in sorted(raised ^ alarms_of_the_guide().keys()):
        yield f"{name} is an alarm in one of them only"
    headings = re.findall(r"^#+ (.*)$", (ROOT / "docs" / "operations.md").read_text(), re.MULTILINE)
    places = {f"docs/operations.md#{heading.lower().replace(' ', '-')}" for heading in headings}
    for rule in rules:
        if rule["annotations"].get("runbook") not in places:
            yield f"{rule['alert']}: nothing is at {rule['annotations'].get('runbook')}"
        if "labels" not in rule or rule["labels"].get("severity") not in ("critical", "warning"):
            yield f"{rule['alert']}: how severe is it?"


def alarms_wait_no_longer_than_the_guide_says(objects: Objects) -> Iterator[str]:
    most_s = alarms_of_the_guide()
    for rule in _alarms(objects):
        for name in set(_NAME.findall(rule["expr"])) & most_s.keys():
            if (waits_s := _seconds(rule.get("for", ""))) > most_s[name]:
                yield f"{rule['alert']} waits {waits_s} s, not {most_s[name]}"


def every_shard_is_counted(objects: Objects) -> Iterator[str]:
    """Also where nobody tells anything, whatever another namespace's workers tell."""
    for it in of_kind(objects, "PrometheusRule"):
        own = f'absent(redpacket_shard_open{{namespace="{it["metadata"]["namespace"]}"}})'
        if not any(own in rule["expr"] for group in it["spec"]["groups"] for rule in group["rules"]):
            yield f"{describe(it)}: nobody misses all of them"
    for who, expression in _expressions(objects):
        for counted in re.findall(r"count by .* < (\d+)", expression):
            if int(counted) != settings_of(objects, "ledger").shards:
                yield f"{who} counts {counted} shards"


def _alarms(objects: Objects) -> list[Object]:
    groups = [group for it in of_kind(objects, "PrometheusRule") for group in it["spec"]["groups"]]
    return [rule for group in groups for rule in group["rules"]]


def _expressions(objects: Objects) -> Iterator[tuple[str, str]]:
    yield from ((rule["alert"], rule["expr"]) for rule in _alarms(objects))
    for it in of_kind(objects, "ScaledObject"):
        for trigger in it["spec"]["triggers"]:
            if "query" in trigger["metadata"]:
                yield describe(it), trigger["metadata"]["query"]


def what_is_not_settled_is_an_alarm(objects: Objects) -> Iterator[str]:
    """By its age, which also grows where nobody can say by how many records the ledger lags."""
    rules = _alarms(objects)
    aged = [rule for rule in rules if rule["expr"] == "redpacket_shard_unsettled_age_seconds > 30"]
    if rules and not [rule for rule in aged if not _seconds(rule.get("for", ""))]:
        yield "nobody is woken where something has not been settled for 30 s"
