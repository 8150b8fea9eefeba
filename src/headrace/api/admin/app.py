"""The admin API as an ASGI application behind llm-api's server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headrace.api.access import request_id
from headrace.api.admin.call import Action, Call
from headrace.api.keys import Keyring
from headrace.api.openapi import render
from headrace.api.record import Record
from headrace.errors import ApiError, Forbidden, InvalidRequest, MethodNotAllowed, NotFound, Overloaded, StoreError
from headrace.store.keys import ADMIN, READ, USAGE
from headrace.wire import asgi
from headrace.wire.exchange import Exchange

PREFIX = "/admin/v1/"

_THREADS = 4
_MOST_WAITING = 64
_JSON = "application/json"

_log = logging.getLogger(__name__)


class AdminApi:
    """Every call is authenticated before the application sees it; the database is used in threads of its own."""

    def __init__(self, keys: Keyring, actions: Iterable[Action]) -> None:
        self._keys = keys
        self._threads = ThreadPoolExecutor(_THREADS, "admin")
        self._waiting = 0
        actions = list(actions)
        self._document = render("Headrace administration", [action.operation for action in actions])
        by_path: dict[str, list[Action]] = {}
        for action in actions:
            by_path.setdefault(action.operation.path, []).append(action)
        routes = [Route(path, self._endpoint(those), methods=_methods(those)) for path, those in by_path.items()]
        routes.append(Route(f"{PREFIX}openapi.json", self._describe, methods=["GET"]))
        self._app = Starlette(routes=routes, exception_handlers={ApiError: _answer_error, HTTPException: _answer_http})
        self._app.router.redirect_slashes = False

    async def serve(self, exchange: Exchange, record: Record) -> None:
        """The endpoint for everything under ``/admin/v1/``."""
        principal = await self._keys.authenticate(exchange.request.headers, scope=None)
        record.tenant, record.key = principal.tenant, principal.key_id
        if principal.scopes.isdisjoint({ADMIN, READ, USAGE}):
            raise Forbidden("This key may not administer: it needs the scope admin, admin:read or usage.")
        exchange.lines += b"%b: %b\r\n" % request_id(record)
        await asgi.serve(self._app, exchange, {"principal": principal})

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _endpoint(self, actions: list[Action]) -> Callable[[Request], Awaitable[Response]]:
        by_method = {action.operation.method: action for action in actions}

        async def answer(request: Request) -> Response:
            action = by_method["GET" if request.method == "HEAD" else request.method]
            principal = request.state.principal
            if principal.scopes.isdisjoint(action.scopes):
                raise Forbidden(f"This needs a key with the scope {' or '.join(sorted(action.scopes))}.")
            path, query = dict(request.path_params), dict(request.query_params)
            if any("\0" in value for value in (*path.values(), *query.values())):
                raise InvalidRequest("The address holds a NUL character.")
            result = await self._in_thread(action, Call(principal, path, query, await request.body()))
            return Response(msgspec.json.encode(result), action.operation.status, media_type=_JSON)

        return answer

    async def _in_thread(self, action: Action, call: Call) -> object:
        if self._waiting >= _MOST_WAITING:
            raise Overloaded("Too many calls of the admin API wait; try again.", retry_after=2)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, action.run, call)
        except StoreError as error:
            _log.warning("an admin call failed", extra={"path": action.operation.path, "reason": str(error)})
            raise Overloaded(
                "The database does not answer; nothing was changed that you were not told. Try again.",
                code="store_unavailable",
                retry_after=5,
            ) from error
        finally:
            self._waiting -= 1

    async def _describe(self, request: Request) -> Response:
        return Response(self._document, media_type=_JSON)


def _methods(actions: list[Action]) -> list[str]:
    return [action.operation.method for action in actions]


async def _answer_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    headers = {name.decode(): value.decode() for name, value in error.headers()}
    return Response(error.body(), error.status, headers)


async def _answer_http(request: Request, error: Exception) -> Response:
    """Starlette's own: no such path, or not with this method."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "").split(", ")
        return await _answer_error(
            request, MethodNotAllowed(f"{request.method} is not allowed here.", allowed=sorted(filter(None, allowed)))
        )
    if error.status_code == 404:
        return await _answer_error(
            request, NotFound(f"There is no {request.url.path} here; see {PREFIX}openapi.json.", code="unknown_path")
        )
    return await _answer_error(request, InvalidRequest(error.detail))
