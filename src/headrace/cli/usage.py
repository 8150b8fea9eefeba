"""``headrace usage``: what was used, from the ledger."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.table import Table

from headrace.cli import options
from headrace.cli.tables import show, table
from headrace.config import ApiSettings, home, load
from headrace.errors import ConfigError

if TYPE_CHECKING:
    from headrace.store.usage import Usage

_COUNTS = ("requests", "failed", "prompt_tokens", "cached_tokens", "completion_tokens")
_PAGE = 1_000


def usage(
    by: Annotated[
        str, typer.Option("--by", help="Some of tenant, key, model, day and month, by commas.")
    ] = "tenant,model",
    since: Annotated[
        str | None,
        typer.Option("--from", help="First day, as 2026-11-24; else that of this month.", show_default=False),
    ] = None,
    until: Annotated[str | None, typer.Option("--to", help="Last day; else today.", show_default=False)] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Name or id.", show_default=False)] = None,
    key: Annotated[str | None, typer.Option("--key", help="Id of a key.", show_default=False)] = None,
    model: Annotated[str | None, typer.Option("--model", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object a line.")] = False,
    config: options.Config = None,
    database: options.Database = None,
) -> None:
    """Show what was used; requests of the last seconds may still be on their way to the ledger."""
    from headrace.store.keys import KeyStore  # noqa: PLC0415  sqlalchemy is slow to import
    from headrace.store.usage import GROUPS, UsageStore  # noqa: PLC0415

    groups = [group for group in GROUPS if group in by.split(",")]
    unknown = {name for name in by.split(",") if name} - set(GROUPS)
    if unknown:
        raise ConfigError(f"--by: {min(unknown)!r} is none of {', '.join(GROUPS)}")
    today = datetime.now(UTC).date()
    first, last = _day(since, "--from", today.replace(day=1)), _day(until, "--to", today)
    settings = load(ApiSettings, file=config, flags={"database": database})
    with closing(KeyStore.open(home(), database=settings.database, pepper=settings.pepper)) as store:
        owner = None if tenant is None else store.tenant(tenant).id
        names = {one.id: one.name for one in store.tenants()}
        ledger = UsageStore(store.database)
        rows: list[Usage] = []
        while len(rows) % _PAGE == 0:
            page = ledger.report(
                groups, since=first, until=last, tenant=owner, key=key, model=model, limit=_PAGE, offset=len(rows)
            )
            rows += page
            if not page:
                break
    if as_json:
        for row in rows:
            typer.echo(msgspec.json.encode(row).decode())
    else:
        show(_table(rows, [str(group) for group in groups], names))


def _table(rows: list[Usage], groups: list[str], names: dict[str, str]) -> Table:
    made = table(*groups)
    for name in _COUNTS:
        made.add_column(name.replace("_", " "), justify="right")
    for row in rows:
        found = [str(getattr(row, group)) for group in groups]
        found = [
            names.get(text, text) if group == "tenant" else text for group, text in zip(groups, found, strict=True)
        ]
        made.add_row(*found, *(f"{getattr(row, name):,}" for name in _COUNTS))
    return made


def _day(text: str | None, option: str, default: date) -> date:
    if text is None:
        return default
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option}: must be a day such as 2026-11-24, not {text!r}") from None
