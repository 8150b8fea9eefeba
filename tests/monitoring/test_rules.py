"""deploy/monitoring/rules: what Prometheus takes, and what each alert has to have."""

from __future__ import annotations

import re
from collections import Counter

import pytest
import yaml

from tests.monitoring.rules import ALERTS, FILES, ROOT, RULES, Rule, promtool

LIST = ROOT / "docs" / "alerts.md"
RUNBOOKS = ROOT / "docs" / "runbooks" / "alerts"
SECTIONS = ("What it means", "What users feel", "First look", "Fix", "When it lies")


def test_prometheus_takes_the_rules() -> None:
    promtool("check", "rules", *map(str, FILES))


def test_each_alert_fires_and_is_silent_when_it_should() -> None:
    promtool("test", "rules", "tests/monitoring/alerts.yaml", "tests/monitoring/recording.yaml")


def test_each_alert_is_tested_both_ways() -> None:
    tests = yaml.safe_load((ROOT / "tests" / "monitoring" / "alerts.yaml").read_text())["tests"]
    found = Counter((case["alertname"], bool(case["exp_alerts"])) for test in tests for case in test["alert_rule_test"])
    assert {name for name, fires in found if fires} == {rule.name for rule in ALERTS}
    assert {name for name, fires in found if not fires} == {rule.name for rule in ALERTS}


def test_names() -> None:
    assert len({rule.name for rule in ALERTS}) == len(ALERTS)
    assert all(re.fullmatch(r"(Llm|Gpu)[A-Z]\w+", rule.name) for rule in ALERTS)
    assert all(re.fullmatch(r"llm:[a-z_]+(:[a-z0-9_]+)?", rule.name) for rule in RULES if not rule.alert)


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule.name)
def test_alert_says_what_to_do(rule: Rule) -> None:
    assert rule.body["labels"]["severity"] in ("critical", "warning", "info")
    assert {"summary", "description", "runbook_url"} == set(rule.body["annotations"])
    page = RUNBOOKS / rule.body["annotations"]["runbook_url"].rsplit("/", 1)[1]
    assert page.stem == rule.name
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == list(SECTIONS)
    look = text.split("## First look")[1].split("## Fix")[0]
    assert re.search(r"^    \S", look, re.MULTILINE), "a command to look with"


def test_the_list_of_alerts_is_whole() -> None:
    rows = re.findall(r"^\| \[(\w+)\]\(\S+\) \| (\w+) \| (.*?) \|", LIST.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == [(rule.name, rule.body["labels"]["severity"], rule.body.get("for", "at once")) for rule in ALERTS]


def test_no_page_is_about_an_alert_that_is_gone() -> None:
    assert {page.stem for page in RUNBOOKS.glob("*.md")} - {"README"} == {rule.name for rule in ALERTS}
