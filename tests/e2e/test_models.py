from __future__ import annotations

import time

import openai
import pytest
from openai import OpenAI

from tests.e2e.stack import CHAT_MODEL, EMBEDDING_MODEL

pytestmark = pytest.mark.e2e


def test_the_list_has_both_models(client: OpenAI) -> None:
    models = {model.id: model for model in client.models.list()}
    assert set(models) == {CHAT_MODEL, EMBEDDING_MODEL}
    assert all(model.object == "model" and model.created > 0 for model in models.values())
    extra = {name: model.model_extra or {} for name, model in models.items()}
    assert {name: fields["modality"] for name, fields in extra.items()} == {
        CHAT_MODEL: "text",
        EMBEDDING_MODEL: "embedding",
    }
    assert all(fields["context_length"] > 0 for fields in extra.values())


def test_both_become_ready(client: OpenAI) -> None:
    deadline = time.monotonic() + 30  # a worker that has just started is seen at the next looks of router and llm-api
    while {(model.model_extra or {})["headrace"]["status"] for model in client.models.list()} != {"ready"}:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_one_model(client: OpenAI) -> None:
    listed = next(model for model in client.models.list() if model.id == CHAT_MODEL)
    found = client.models.retrieve(CHAT_MODEL)
    assert (found.id, found.created, found.object) == (listed.id, listed.created, listed.object)


def test_a_model_that_is_not_there(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("no/such-model")
    assert caught.value.code == "model_not_found"
    assert CHAT_MODEL in caught.value.message
