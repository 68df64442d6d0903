"""Every rule holds of every overlay, and production keeps what the promise rests on."""

import shutil
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path

import pytest

from tests.k8s.objects import Objects, dig, find, pods
from tests.k8s.render import MANIFESTS, OVERLAYS, render
from tests.k8s.rules import RULES, Rule
from tests.k8s.rules.settings import ours, settings_of


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_overlay_keeps_the_rule(rendered: Mapping[str, Objects], rule: Rule, overlay: str) -> None:
    assert list(rule(rendered[overlay])) == []


@pytest.mark.parametrize("overlay", ["production", "rehearsal"])
def test_what_is_acknowledged_is_in_two_places(rendered: Mapping[str, Objects], overlay: str) -> None:
    settings = settings_of(rendered[overlay], "migrate")
    assert (settings.kafka_replication, settings.kafka_min_insync) == (3, 2)
    postgres = find(rendered[overlay], "Cluster", "postgres")["spec"]
    assert postgres["instances"] == 3
    assert dig(postgres, "postgresql", "synchronous") == {
        "method": "any",
        "number": 1,
        "dataDurability": "required",
        "failoverQuorum": True,
    }
    pool = find(rendered[overlay], "KafkaNodePool", "broker")["spec"]
    assert all(it["deleteClaim"] is False for it in pool["storage"]["volumes"])


def test_a_rehearsal_is_production_with_people_and_no_way_in(rendered: Mapping[str, Objects]) -> None:
    def names(overlay: str) -> set[tuple[str, str]]:
        return {(it["kind"], it["metadata"]["name"]) for it in rendered[overlay] if it["kind"] != "Namespace"}

    assert names("rehearsal") - names("production") == {
        ("Job", "rehearsal"),
        ("NetworkPolicy", "rehearsal-from"),
        ("NetworkPolicy", "rehearsal-to-api"),
    }
    assert names("production") - names("rehearsal") == {("HTTPRoute", "api"), ("NetworkPolicy", "gateway-to-api")}
    assert find(rendered["rehearsal"], "Namespace", "redpacket-rehearsal")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rules_hold_of_images_in_a_registry(rendered: Mapping[str, Objects], rule: Rule) -> None:
    elsewhere = deepcopy(list(rendered["rehearsal"]))
    for pod in pods(elsewhere):
        for container in pod.containers:
            container["image"] = f"ghcr.io/us/{container['image']}"
    assert list(rule(elsewhere)) == []
    assert len(ours(elsewhere)) == 4


@pytest.mark.parametrize("name", ["ghcr.io/us/redpacket", "localhost:5000/redpacket"])
def test_the_migration_is_named_by_the_version_in_any_registry(kubectl: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(MANIFESTS, tmp_path, dirs_exist_ok=True)
    overlay = tmp_path / "overlays" / "production" / "kustomization.yaml"
    overlay.write_text(overlay.read_text().replace("newName: redpacket,", f"newName: {name},"))
    job = find(render(kubectl, "production", tmp_path), "Job", "migrate-0.1.0")
    assert job["spec"]["template"]["spec"]["containers"][0]["image"] == f"{name}:0.1.0"
