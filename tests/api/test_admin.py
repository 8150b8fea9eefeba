"""The admin API, over HTTP."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from headrace.store.usage import UsageRecord, UsageStore
from tests.api.conftest import Api, StartApi, StartRouter, error
from tests.schema import fuzz
from tests.stores import Gate

V1 = "/admin/v1"


class Admin:
    def __init__(self, api: Api) -> None:
        self.api = api

    async def ask(self, method: str, path: str, body: object = None, *, key: str = "admin", status: int = 200) -> Any:
        data = b"" if body is None else json.dumps(body).encode()
        lines = f"host: api\r\nauthorization: Bearer {self.api.keys.get(key, key)}\r\ncontent-length: {len(data)}\r\n"
        peer = await self.api.dial()
        await peer.send(f"{method} {V1}{path} HTTP/1.1\r\n{lines}\r\n".encode() + data)
        reply = await peer.reply(method=method)
        assert reply.status == status, reply.body
        assert "x-request-id" in reply.headers
        return error(reply) if status >= 400 else json.loads(reply.body)

    async def get(self, path: str, **options: Any) -> Any:
        return await self.ask("GET", path, **options)

    async def post(self, path: str, body: object = None, *, status: int = 201, **options: Any) -> Any:
        return await self.ask("POST", path, body, status=status, **options)

    async def patch(self, path: str, body: object, **options: Any) -> Any:
        return await self.ask("PATCH", path, body, **options)

    async def key(self, **fields: Any) -> Any:
        return await self.post("/keys", {"tenant": "acme", "name": "new", **fields})


@pytest.fixture
async def admin(start_api: StartApi, start_router: StartRouter) -> Admin:
    return Admin(await start_api(await start_router("m")))


async def test_a_key_lives(admin: Admin) -> None:
    made = await admin.key(models=["m"], limits={"concurrency": 2}, expires_at=time.time() + 1000)
    text = made["key"]
    assert (await admin.api.post(key=text)).status == 200
    shown = await admin.get(f"/keys/{made['id']}")
    assert shown == {name: value for name, value in made.items() if name != "key"}
    changed = await admin.patch(f"/keys/{made['id']}", {"name": "other", "models": None, "limits": {}})
    assert (changed["name"], changed["models"], changed["limits"]) == ("other", None, {})
    assert changed["expires_at"] == made["expires_at"]
    rotated = await admin.post(f"/keys/{made['id']}/rotate", {"overlap": 100}, status=200)
    for valid in (text, rotated["key"]):
        assert (await admin.api.post(key=valid)).status == 200
    revoked = await admin.post(f"/keys/{made['id']}/revoke", status=200)
    assert revoked["revoked_at"]
    await admin.api.service._keys.refresh()
    for ended in (text, rotated["key"]):
        assert (await admin.api.post(key=ended)).status == 401


async def test_an_old_secret_without_overlap_ends(admin: Admin) -> None:
    made = await admin.key()
    await admin.post(f"/keys/{made['id']}/rotate", {"overlap": 0}, status=200)
    await admin.api.service._keys.refresh()
    assert (await admin.api.post(key=made["key"])).status == 401


async def test_a_tenant_lives(admin: Admin) -> None:
    made = await admin.post("/tenants", {"name": "new", "limits": {"requests_per_minute": 5}})
    assert await admin.get(f"/tenants/{made['id']}") == await admin.get("/tenants/new") == made
    changed = await admin.patch("/tenants/new", {"name": "newer", "limits": {"concurrency": 1}})
    assert changed == {**made, "name": "newer", "limits": {"concurrency": 1}}
    assert (await admin.post("/tenants", {"name": "newer"}, status=400))["param"] == "name"
    assert (await admin.patch("/tenants/newer", {"name": "acme"}, status=400))["param"] == "name"


async def test_changed_limits_hold_without_a_restart(admin: Admin) -> None:
    await admin.post("/tenants", {"name": "small"})
    made = await admin.key(tenant="small", limits={"requests_per_minute": 50})

    async def limit() -> str | None:
        await admin.api.service._keys.refresh()
        reply = await admin.api.post(key=made["key"])
        assert reply.status == 200
        return reply.headers.get("x-ratelimit-limit-requests")

    assert await limit() == "50"
    await admin.patch(f"/keys/{made['id']}", {"limits": {"requests_per_minute": 100}})
    assert await limit() == "100"
    await admin.patch(f"/keys/{made['id']}", {"limits": {}})
    assert await limit() is None
    await admin.patch("/tenants/small", {"limits": {"requests_per_minute": 70}})
    assert await limit() == "70"


async def test_lists_come_in_pages(admin: Admin) -> None:
    made = [(await admin.key(name=f"k{number}"))["id"] for number in range(3)]
    seen: list[str] = []
    path = "/keys?limit=2"
    while True:
        page = await admin.get(path)
        seen += [key["id"] for key in page["data"]]
        if not page["has_more"]:
            break
        path = f"/keys?limit=2&after={seen[-1]}"
    assert len(seen) == len(set(seen)) == 8
    assert seen[-3:] == made
    assert [tenant["name"] for tenant in (await admin.get("/tenants"))["data"]] == ["acme"]
    assert len((await admin.get("/keys?tenant=acme&limit=1000"))["data"]) == 8


async def test_every_act_is_audited(admin: Admin) -> None:
    made = await admin.key()
    path = f"/keys/{made['id']}"
    await admin.patch(path, {"models": ["m"]})
    await admin.post(f"{path}/rotate", {}, status=200)
    await admin.post(f"{path}/revoke", status=200)
    await admin.post("/tenants", {"name": "t"})
    await admin.patch("/tenants/t", {"limits": {}})
    acts = (await admin.get("/audit?limit=6"))["data"]
    assert [act["action"] for act in acts] == [
        *("tenant.update", "tenant.create", "key.revoke", "key.rotate", "key.update", "key.create")
    ]
    (own,) = [key["id"] for key in (await admin.get("/keys"))["data"] if key["name"] == "admin"]
    assert {act["actor"] for act in acts} == {own}
    assert acts[4]["detail"] == {"models": ["m"]}
    assert made["key"] not in json.dumps(acts)
    older = await admin.get(f"/audit?limit=1&before={acts[2]['id']}")
    assert older["data"] == [acts[3]]
    assert older["has_more"]


async def test_usage_is_told_to_whom_it_concerns(admin: Admin) -> None:
    usage = UsageStore(admin.api.service._store.database)
    acme = await admin.get("/tenants/acme")
    usage.add([UsageRecord(f"r{n}", time.time(), t, "k", "m", "/", 200, 5, 1, 2, False) for n, t in enumerate("ab")])
    usage.add([UsageRecord("own", time.time(), acme["id"], "k", "m", "/", 500, 0, 0, 0, False)])
    rows = (await admin.get("/usage?group_by=tenant,model"))["data"]
    assert {row["tenant"]: row["requests"] for row in rows} == {"a": 1, "b": 1, acme["id"]: 1}
    (total,) = (await admin.get("/usage"))["data"]
    assert (total["requests"], total["failed"], total["prompt_tokens"]) == (3, 1, 10)
    reader = (await admin.key(scopes=["usage"]))["key"]
    (own,) = (await admin.get("/usage", key=reader))["data"]
    assert own["requests"] == 1
    await admin.get("/usage?tenant=a", key=reader, status=403)
    assert (await admin.get("/usage?from=2000-01-01&to=2000-01-02"))["data"][0]["requests"] == 0


async def test_the_fleet_is_told(admin: Admin) -> None:
    fleet = await admin.get("/fleet")
    assert [pool["name"] for pool in fleet["pools"]] == ["m"]
    assert [router["reachable"] for router in fleet["routers"]] == [True]


async def test_scopes_open_what_they_say(admin: Admin) -> None:
    reader = (await admin.key(scopes=["admin:read"]))["key"]
    await admin.get("/keys", key=reader)
    await admin.post("/tenants", {"name": "x"}, key=reader, status=403)
    await admin.get("/keys", key="user", status=403)
    usage = (await admin.key(scopes=["usage"]))["key"]
    await admin.get("/keys", key=usage, status=403)
    assert (await admin.api.post(key=usage)).status == 403
    await admin.get("/keys", key="hr-unknown", status=401)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "param"),
    [
        ("POST", "/keys", {"name": "x"}, 400, "tenant"),
        ("POST", "/keys", {"tenant": "nobody", "name": "x"}, 404, "tenant"),
        ("POST", "/keys", {"tenant": "acme", "name": ""}, 400, "name"),
        ("POST", "/keys", {"tenant": "acme", "name": "x", "scopes": ["root"]}, 400, "scopes"),
        ("POST", "/keys", {"tenant": "acme", "name": "x", "limits": {"rpm": 1}}, 400, "limits"),
        ("POST", "/keys", {"tenant": "acme", "name": "x", "expires_at": 1}, 400, "expires_at"),
        ("POST", "/keys", {"tenant": "acme", "name": "x", "colour": "red"}, 400, None),
        ("POST", "/keys", {"tenant": "acme", "name": "a\0b"}, 400, None),
        ("POST", "/keys", [], 400, None),
        ("GET", "/keys/nobody", None, 404, "key_id"),
        ("GET", "/keys/a%00b", None, 400, None),
        ("GET", "/keys?limit=0", None, 400, "limit"),
        ("GET", "/keys?limit=x", None, 400, "limit"),
        ("GET", "/keys?after=nobody", None, 404, "key_id"),
        ("GET", "/usage?group_by=colour", None, 400, "group_by"),
        ("GET", "/usage?from=yesterday", None, 400, "from"),
        ("GET", "/usage?offset=9999999999999999999999", None, 400, "offset"),
        ("GET", "/nothing", None, 404, None),
        ("DELETE", "/keys", None, 405, None),
        ("PATCH", "/keys/nobody", {"name": "x"}, 404, "key_id"),
    ],
)
async def test_what_is_wrong_is_said(
    admin: Admin, method: str, path: str, body: object, status: int, param: str | None
) -> None:
    told = await admin.ask(method, path, body, status=status)
    assert told["message"]
    assert told["param"] == param


@pytest.mark.own_stores
async def test_a_database_that_is_away_is_told(
    start_api: StartApi, start_router: StartRouter, postgresql_gate: tuple[Gate, str]
) -> None:
    gate, url = postgresql_gate
    admin = Admin(await start_api(await start_router("m"), database=url))
    gate.shut()
    assert (await admin.get("/keys", status=503))["code"] == "store_unavailable"
    await admin.get("/fleet")


async def test_the_document_names_every_path(admin: Admin) -> None:
    document = await admin.get("/openapi.json")
    assert set(document["paths"]) >= {f"{V1}/keys", f"{V1}/keys/{{key_id}}/rotate", f"{V1}/usage", f"{V1}/fleet"}
    assert document["paths"][f"{V1}/keys"]["post"]["responses"]["201"]


@pytest.mark.own_stores
async def test_a_revocation_ends_a_key_on_every_replica(
    start_api: StartApi, start_router: StartRouter, database_url: str
) -> None:
    router = await start_router("m")
    one, two = [await start_api(router, database=database_url) for _ in range(2)]
    admin = Admin(one)
    made = await admin.key()
    for replica in (one, two):
        assert (await replica.post(key=made["key"])).status == 200  # the other learns of it when it is asked
    began = time.monotonic()
    await admin.post(f"/keys/{made['id']}/revoke", status=200)
    for replica in (one, two):
        while (await replica.post(key=made["key"])).status != 401:
            assert time.monotonic() - began < 20
    assert two.service._keys._interval <= 1.0  # polled each second: effective within two


async def test_made_up_calls_never_break_anything(admin: Admin) -> None:
    made = await admin.key()

    def name_what_is_there(case: Any) -> None:
        for name, value in (("key_id", made["id"]), ("tenant_id", "acme")):
            if name in case.path_parameters:
                case.path_parameters[name] = value
        if isinstance(case.body, dict) and "tenant" in case.body:
            case.body["tenant"] = "acme"

    api = admin.api
    headers = {"authorization": f"Bearer {api.keys['admin']}"}
    document = (await api.get(f"{V1}/openapi.json", key="admin")).body
    url = f"http://{api.address[0]}:{api.address[1]}"
    statuses = await asyncio.to_thread(fuzz, document, url, headers, examples=12, prepare=name_what_is_there)
    assert {200, 201, 400} <= set(statuses)
    assert max(statuses) < 500
