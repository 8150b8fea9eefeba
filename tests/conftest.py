"""``--no-skips``: where everything should be there, as in CI, a skipped test is a failure."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest
from hypothesis import settings

from tests.stores import (  # noqa: F401  fixtures of all tests
    database_url,
    postgresql,
    postgresql_gate,
    valkey,
    valkey_gate,
)

_EXAMPLES = int(os.environ.get("EXAMPLES") or 5_000)
settings.register_profile("long", max_examples=_EXAMPLES, deadline=None, print_blob=True)  # make fuzz
_MAY_SKIP = ("gpu", "wheel")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="fail where a test skips, but for markers gpu and wheel")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if _forbidden(item, report) and not any(item.get_closest_marker(name) for name in _MAY_SKIP):
        _fail(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if _forbidden(collector, report):
        _fail(report)
    return report


def _forbidden(node: pytest.Item | pytest.Collector, report: pytest.TestReport | pytest.CollectReport) -> bool:
    return bool(node.config.getoption("no_skips")) and report.skipped and not hasattr(report, "wasxfail")


def _fail(report: pytest.TestReport | pytest.CollectReport) -> None:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    report.outcome = "failed"
    report.longrepr = f"--no-skips forbids this: {reason}"
