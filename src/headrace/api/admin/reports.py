"""What was used, and what runs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

from headrace.api.admin.call import LIMIT, Action, Call, page
from headrace.api.admin.shapes import UsageList
from headrace.api.fleet import Fleet
from headrace.api.openapi import Operation, Parameter
from headrace.errors import Forbidden, InvalidRequest
from headrace.store.keys import ADMIN, READ, USAGE
from headrace.store.usage import GROUPS, Group, UsageStore

_DAY = {"type": "string", "format": "date"}
_PARAMETERS = (
    Parameter("group_by", schema={"type": "string", "description": "Some of " + ", ".join(GROUPS) + ", by commas."}),
    Parameter("from", schema=_DAY),
    Parameter("to", schema=_DAY),
    Parameter("tenant"),
    Parameter("key"),
    Parameter("model"),
    LIMIT,
    Parameter("offset", schema={"type": "integer", "minimum": 0}),
)
_MOST_OFFSET = 1_000_000


class Reports:
    def __init__(self, usage: UsageStore, fleet: Fleet) -> None:
        self._usage = usage
        self._fleet = fleet

    def actions(self) -> list[Action]:
        return [
            Action(
                Operation("GET", "/admin/v1/usage", "Sums of what was used", answer=UsageList, parameters=_PARAMETERS),
                frozenset({ADMIN, READ, USAGE}),
                self._report,
            ),
            Action(
                Operation("GET", "/admin/v1/fleet", "Pools and workers, over all routers"),
                frozenset({ADMIN, READ}),
                self._pools,
            ),
        ]

    def _report(self, call: Call) -> UsageList:
        today = datetime.now(UTC).date()
        limit, tenant = call.limit(), call.query.get("tenant")
        if not call.is_admin:
            if tenant not in {None, call.principal.tenant}:
                raise Forbidden("This key reads the usage of its own tenant only.", param="tenant")
            tenant = call.principal.tenant
        rows = self._usage.report(
            _groups(call.query.get("group_by", "")),
            since=call.day("from", today.replace(day=1)),
            until=call.day("to", today),
            tenant=tenant,
            key=call.query.get("key"),
            model=call.query.get("model"),
            limit=limit + 1,
            offset=call.number("offset", 0, least=0, most=_MOST_OFFSET),
        )
        return UsageList(*page(rows, limit))

    def _pools(self, call: Call) -> dict[str, Any]:
        routers = [{"url": router.url, "reachable": router.reachable} for router in self._fleet.routers]
        return {"object": "fleet", "routers": routers, "pools": self._fleet.pools()}


def _groups(text: str) -> list[Group]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in GROUPS]
    if unknown:
        raise InvalidRequest(f"group_by: must be some of {', '.join(GROUPS)}, by commas.", param="group_by")
    return cast(list[Group], names)
