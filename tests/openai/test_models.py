from __future__ import annotations

import msgspec
from openai.types import Model as SdkModel

from headrace.openai.models import Architecture, Model, ModelList, Status


def test_the_official_sdk_reads_the_list() -> None:
    kinds = Architecture(["text", "image"], ["text"])
    card = Model(id="m", created=5, headrace=Status("ready", 12), architecture=kinds, context_length=2048)
    listed = msgspec.json.decode(msgspec.json.encode(ModelList([card])))
    assert listed["object"] == "list"
    read = SdkModel.model_validate(listed["data"][0], strict=True)
    assert (read.id, read.created, read.object, read.owned_by) == ("m", 5, "model", "headrace")
    assert listed["data"][0]["headrace"] == {"status": "ready", "wait_ms": 12}
    assert listed["data"][0]["context_length"] == 2048
