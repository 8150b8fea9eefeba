"""What a run showed, in the figures that are compared."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from headrace.simulate.constants import Constants
from headrace.simulate.request import Request
from headrace.simulate.workloads.flood import ABUSER

NEVER = 1e6
"""Seconds. A number, since JSON has no infinity."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """Of the requests that came after the first quarter of the run and before its end.

    Where a tenant floods, all but the hit rate and the fairness are of the others.
    """

    requests: int
    offered: float
    """Requests a second."""
    ttft_p50: float
    """Seconds; a request that never got a token counts as ``NEVER``."""
    ttft_p99: float
    goodput: float
    """Share of the requests that were finished with the first token and the others in time; failures count as not."""
    failed: float
    """Share of the requests without a whole answer."""
    hit_rate: float
    """Share of the prompt tokens that the engines had in their caches."""
    fairness: float
    """Jain's index over the tenants of what each was served, of what it was entitled to."""
    imbalance: float
    """Requests with the most loaded worker over the mean, each weighed by its speed; mean over the run."""
    preempted: int


def measure(
    requests: Sequence[Request],
    constants: Constants,
    *,
    begin: float,
    end: float,
    imbalance: float,
    preempted: int,
) -> Outcome:
    everybody = [request for request in requests if begin <= request.arrived < end]
    seen = [request for request in everybody if request.tenant != ABUSER]
    ttfts = [min(NEVER, request.ttft) for request in seen]
    prompts = sum(request.prompt.tokens for request in everybody)
    return Outcome(
        requests=len(seen),
        offered=len(seen) / (end - begin),
        ttft_p50=quantile(ttfts, 0.5),
        ttft_p99=quantile(ttfts, 0.99),
        goodput=_share(is_good(request, constants) for request in seen),
        failed=_share(not math.isfinite(request.finished) for request in seen),
        hit_rate=sum(request.cached for request in everybody) / prompts,
        fairness=fairness(everybody, constants),
        imbalance=imbalance,
        preempted=preempted,
    )


def is_good(request: Request, constants: Constants) -> bool:
    finished = math.isfinite(request.finished)
    return finished and request.ttft <= constants.slo_first and request.tpot <= constants.slo_token


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that ``share`` of them do not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * share) - 1)]


def fairness(requests: Iterable[Request], constants: Constants) -> float:
    """Jain's index (Jain, Chiu & Hawe, 1984) of served over entitled work, by tenant; 1 is fair.

    Served is the work of its good requests; what a tenant is entitled to is its max-min fair share of all that was
    served: what it asked for, or the common level where that is less. So who asks for too much cannot make it unfair.
    """
    asked: defaultdict[str, float] = defaultdict(float)
    served: defaultdict[str, float] = defaultdict(float)
    for request in requests:
        asked[request.tenant] += request.work
        if is_good(request, constants):
            served[request.tenant] += request.work
    level = water_level(asked, sum(served.values()))
    if not level:
        return 1.0
    shares = [served[tenant] / min(work, level) for tenant, work in asked.items()]
    return sum(shares) ** 2 / (len(shares) * sum(share * share for share in shares))


def water_level(asked: Mapping[str, float], total: float) -> float:
    """The level at which nobody gets more than it and than it asked for, and all together get ``total``."""
    left, level = total, 0.0
    for rank, work in enumerate(sorted(asked.values())):
        level = left / (len(asked) - rank)
        if work > level:
            return level
        left -= work
    return max(asked.values(), default=level)


def _share(values: Iterable[bool]) -> float:
    found = list(values)
    return sum(found) / len(found)
