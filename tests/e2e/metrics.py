"""Reading a service's metrics as Prometheus does."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.calls import Call


class Samples:
    """One scrape."""

    def __init__(self, ops: str) -> None:
        with Call(ops, "GET", "/metrics") as call:
            assert call.status == 200
            assert call.headers["content-type"].startswith("text/plain; version=0.0.4")
            text = call.body().decode()
        self._samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    @property
    def names(self) -> set[str]:
        return {sample.name for sample in self._samples}

    def total(self, name: str, **labels: str) -> float:
        """The sum of the samples that have ``labels``, and any others."""
        wanted = labels.items()
        return sum(s.value for s in self._samples if s.name == name and wanted <= s.labels.items())
