"""The bill of one request: what it used, told once to the log, the ledger, the limits and the estimates."""

from __future__ import annotations

from headrace.api.cost import Estimator
from headrace.api.job import Job
from headrace.api.ledger import Ledger
from headrace.openai.usage import Usage
from headrace.store.limits.limiter import Lease


class Bill:
    """Opened when the request is admitted; closed once, by whatever ends it first."""

    __slots__ = ("_closed", "_estimator", "_job", "_ledger", "lease")

    def __init__(self, ledger: Ledger, estimator: Estimator, job: Job) -> None:
        self.lease: Lease | None = None
        """What the limits reserved for it."""
        self._ledger = ledger
        self._estimator = estimator
        self._job = job
        self._closed = False

    def answered(self, status: int, used: Usage | None, events: int = 0) -> None:
        """The answer is complete but for its last byte. ``events``: of the stream, about one for each token."""
        if used is not None:
            self._account(used)
        elif status == 200:
            self._estimate(events or self._job.cost.output)
        self._close(status, failed=status >= 500)

    def left(self, status: int, used: Usage | None, events: int, waited: float) -> None:
        """The client is gone: what was produced for it until then is billed.

        ``waited``: seconds that the request probably spent in a queue, where nothing is produced.
        """
        if self._closed:
            return
        job = self._job
        if used is not None:
            self._account(used)
        elif events or not job.sequences:
            self._estimate(events)
        elif job.age > waited:  # an answer in one piece, of which nobody outside the worker knows how far it came
            self._estimate(
                self._estimator.produced(
                    job.record.model, job.age - waited, sequences=job.sequences, output_cap=job.output_cap
                )
            )
        self._close(status, failed=False)

    def unused(self, status: int) -> None:
        """The client is gone before the request was sent on: it counts as one, and used nothing."""
        if not self._closed:
            self._close(status, failed=False)

    def failed(self, status: int) -> None:
        """No answer, or a broken one: nobody pays, and it does not count. Nothing where the bill is closed already."""
        if not self._closed:
            self._close(status, failed=True)

    def _close(self, status: int, *, failed: bool) -> None:
        self._closed = True
        record = self._job.record
        self._ledger.book(record, status)
        self._job.exchange.first(self._ledger.write)
        if self.lease is not None:
            self.lease.settle(0 if failed else record.prompt_tokens + record.completion_tokens, counts=not failed)

    def _account(self, used: Usage) -> None:
        job, record = self._job, self._job.record
        record.prompt_tokens = used.prompt_tokens
        record.completion_tokens = used.output
        record.cached_tokens = used.cached
        if not job.text.media:
            self._estimator.learn(
                record.model,
                len(job.text.data),
                used.prompt_tokens,
                sequences=job.sequences,
                output_tokens=used.output,
                seconds=job.age - record.queue_ms / 1000 - record.client_stall_ms / 1000,
            )

    def _estimate(self, output: int) -> None:
        """Where no worker told it; what no model answers uses nothing."""
        job = self._job
        if job.request.served_by:
            job.record.prompt_tokens, job.record.completion_tokens = job.cost.prompt, output
            job.record.estimated = True
