"""Which models a name stands for, and who may use it. A model that a key may not use does not exist for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headrace.api.aliases.alias import Alias
from headrace.api.aliases.book import AliasBook
from headrace.api.fleet import Fleet, PoolView
from headrace.errors import InvalidRequest, NotFound, Overloaded
from headrace.openai.models import Architecture, Model
from headrace.openai.request import GenerationRequest, Request
from headrace.store.snapshot import Principal

AnyRequest = Request[Any]


class Models:
    """Pools and adapters by name, and aliases before them: a pool whose name an alias has is only behind it."""

    def __init__(self, fleet: Fleet, aliases: AliasBook) -> None:
        self._fleet = fleet
        self._aliases = aliases
        self.alias = aliases.find

    def pool(self, request: AnyRequest, principal: Principal) -> PoolView:
        """The pool of the request's model, which is no alias."""
        pool = self._fleet.pool(request.model or self._only_model(request, principal))
        if pool is None or not principal.allows(pool.name):
            self._fleet.demand()
            raise self.unknown(request.model, principal)
        wanted = request.served_by
        if wanted and pool.modality not in wanted and pool.modality:
            raise _wrong_modality(pool, wanted)
        return pool

    def behind(self, alias: Alias, request: AnyRequest, principal: Principal) -> Sequence[PoolView]:
        """The pools that may answer, in the order in which they are tried: those that can do it now come first."""
        self._fleet.demand()
        if not principal.allows(alias.name):
            raise self.unknown(alias.name, principal)
        user = request.fields.user if isinstance(request, GenerationRequest) else None
        known = [self._fleet.pool(name) for name in alias.order(principal.key_id, user or "")]
        pools = [pool for pool in known if pool is not None]
        if not pools:
            raise Overloaded(f"None of the models behind {alias.name} is there.", code="no_worker", retry_after=10)
        wanted = request.served_by
        fit = [pool for pool in pools if not wanted or not pool.modality or pool.modality in wanted]
        if not fit:
            raise _wrong_modality(pools[0], wanted)
        return fit if len(fit) == 1 else sorted(fit, key=lambda pool: not pool.ready)

    def unknown(self, name: str, principal: Principal) -> NotFound:
        """The error that names what there is instead."""
        known = ", ".join(self._names(principal)) or "none"
        return NotFound(
            f"The model {name[:200]!r} does not exist or your key may not use it. Models for you: {known}.",
            param="model",
            code="model_not_found",
        )

    def visible(self, principal: Principal) -> list[Model]:
        """All models that the key may use, as ``/v1/models`` shows them."""
        found = [self.model(name, principal) for name in self._names(principal)]
        return [model for model in found if model is not None]

    def model(self, name: str, principal: Principal) -> Model | None:
        """One of them; None where there is no such model for this key."""
        if not principal.allows(name):
            return None
        alias = self._aliases.find(name)
        if alias is None:
            pool = self._fleet.pool(name)
            return None if pool is None else self._fleet.model(pool)
        found = [self._fleet.pool(target) for target in alias.models]
        pools = [pool for pool in found if pool is not None]
        return _merged(name, [self._fleet.model(pool) for pool in pools]) if pools else None

    def _names(self, principal: Principal) -> list[str]:
        names = self._fleet.names() | {
            alias.name for alias in self._aliases.all() if any(map(self._fleet.pool, alias.models))
        }
        return sorted(name for name in names if principal.allows(name))

    def _only_model(self, request: AnyRequest, principal: Principal) -> str:
        """The model of a request that need not name one."""
        names = [
            pool.name
            for pool in self._fleet.pools()
            if pool.modality in request.served_by and principal.allows(pool.name)
        ]
        if len(names) != 1:
            self._fleet.demand()
            raise InvalidRequest(f"model: is required. Models for you: {', '.join(names) or 'none'}.", param="model")
        return names[0]


def _wrong_modality(pool: PoolView, wanted: tuple[str, ...]) -> InvalidRequest:
    needed = " or ".join(map(repr, wanted))
    return InvalidRequest(
        f"The model {pool.name} is of the kind {pool.modality!r}; this endpoint needs {needed}.",
        param="model",
        code="wrong_modality",
    )


def _merged(name: str, models: list[Model]) -> Model:
    """What may be promised of an alias: its best model's state, and the context and inputs that all have."""
    best = min(models, key=lambda model: (model.headrace.status != "ready", model.headrace.wait_ms))
    contexts = [model.context_length for model in models if model.context_length is not None]
    inputs = [
        one
        for one in best.architecture.input_modalities
        if all(one in model.architecture.input_modalities for model in models)
    ]
    return Model(
        id=name,
        created=best.created,
        headrace=best.headrace,
        architecture=Architecture(inputs, best.architecture.output_modalities),
        context_length=min(contexts, default=None),
        modality=best.modality,
    )
