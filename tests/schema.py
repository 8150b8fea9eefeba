"""Requests made up from an OpenAPI document: those that it allows, and those that it does not."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import HypothesisDeprecationWarning
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

_CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
_QUIET = settings(
    deadline=None,
    database=None,
    derandomize=True,  # the same requests each time: a new one that fails must not be another's surprise
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)


def fuzz(
    document: bytes,
    url: str,
    headers: Mapping[str, str],
    *,
    examples: int,
    prepare: Callable[[Any], None] = lambda case: None,
) -> dict[int, int]:
    """Call every operation ``examples`` times with what is allowed and as often with what is not.

    ``prepare`` may change a case that is allowed, so that it names things that exist. Returns how many answers had
    which status.
    """
    schema = schemathesis.openapi.from_dict(json.loads(document))
    schema.config.update(base_url=url)
    statuses: dict[int, int] = {}

    def call(case: Any) -> None:
        response = case.call(headers=dict(headers), timeout=60)
        statuses[response.status_code] = statuses.get(response.status_code, 0) + 1
        case.validate_response(response, checks=_CHECKS)

    def call_prepared(case: Any) -> None:
        prepare(case)
        call(case)

    quiet = settings(_QUIET, max_examples=examples)
    with warnings.catch_warnings():
        # The service runs in another thread of this process, and may draw a random number at any moment.
        warnings.filterwarnings("ignore", "Do not use the `random` module", HypothesisDeprecationWarning)
        for found in schema.get_all_operations():
            assert isinstance(found, Ok), found
            operation = found.ok()
            quiet(given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE))(call_prepared))()
            quiet(given(case=operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))(call))()
    return statuses
