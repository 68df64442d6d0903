"""The protocol holds in every state of the models, and each of its rules is needed."""

import re
from pathlib import Path

import pytest

from tests.model.configurations import LONG, MISSED_IN, SHORT, Configuration, without
from tests.model.explore import explore
from tests.model.rules import Rule


def check(model: Configuration) -> None:
    report = explore(model)
    print(f"{report.name}: {report.states:,} states, {report.transitions:,} transitions, {report.seconds:.1f} s")
    assert not report.problem, report.in_words()


@pytest.mark.parametrize("model", SHORT, ids=lambda model: model.name)
def test_protocol_holds(model: Configuration) -> None:
    check(model)


@pytest.mark.model_long
@pytest.mark.parametrize("model", LONG, ids=lambda model: model.name)
def test_protocol_holds_within_wider_bounds(model: Configuration) -> None:
    check(model)


@pytest.mark.parametrize("rule", MISSED_IN, ids=lambda rule: f"{rule.number} {rule.name}")
def test_rule_is_needed(rule: Rule) -> None:
    """Taken away, a model finds what it was for; the words are printed (-rP)."""
    report = explore(without(rule))
    assert report.problem, f"no model misses {rule.number}"
    print(f"{rule.number} taken away: {rule.what}\n{report.in_words()}")


def test_every_rule_is_looked_at_and_listed() -> None:
    assert set(MISSED_IN) == set(Rule)
    lines = (Path(__file__).parents[2] / "ARCHITECTURE.md").read_text().splitlines()
    assert [line for line in lines if re.match(r"\| R\d", line)] == [rule.row for rule in Rule]


def test_the_document_of_the_models_says_of_every_rule_where_it_stands_in_the_code() -> None:
    text = (Path(__file__).parents[2] / "docs" / "model.md").read_text()
    for rule in Rule:
        assert f"Without it {rule.why}. Model: {rule.step}. Code: {rule.code}." in text
