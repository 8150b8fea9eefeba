from __future__ import annotations

import json
from typing import Any

import pytest

from headrace.errors import BadGateway, InvalidRequest
from headrace.openai.moderation import CATEGORIES, Classification, ModerationRequest, ModerationTranslator
from headrace.openai.rules import Rules


def make(given: Any, **fields: Any) -> ModerationRequest:
    request = ModerationRequest.decode(json.dumps({"input": given, **fields}).encode())
    request.check(Rules(inputs=3))
    return request


def part(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


@pytest.mark.parametrize(
    ("given", "sent"),
    [("a", "a"), (["a", "b"], ["a", "b"]), ([part("a"), part("b")], ["a\nb"]), ([part("a"), "b"], ["a\nb"])],
)
def test_input(given: Any, sent: Any) -> None:
    assert json.loads(make(given).encode("judge")) == {"model": "judge", "input": sent}


@pytest.mark.parametrize("fields", [{}, {"model": None}, {"model": ""}])
def test_model_may_be_left_out(fields: dict[str, Any]) -> None:
    assert make("a", **fields).model == ""
    assert make("a", model="judge").model == "judge"


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ("", "input"),
        ([], "input"),
        (["a", ""], "input[1]"),
        (["a"] * 4, "input"),
        (None, "input"),
        ([{"type": "image_url", "image_url": {"url": "data:"}}], "input[0].type"),
        ([{"type": "text"}], "input[0].text"),
    ],
)
def test_bad_input_is_named(given: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        make(given)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("classification", "scores"),
    [
        (Classification([0.9, 0.1], labels=["toxic", "safe"]), {"toxic": 0.9}),
        (Classification([0.9, 0.1], labels=["LABEL_0", "LABEL_1"]), {"LABEL_1": 0.1}),
        (Classification([0.2, 0.1, 0.7], labels=["S", "H2", "OK"]), {"sexual": 0.2, "hate/threatening": 0.1}),
        (Classification([0.2], labels=["self_harm"]), {"self-harm": 0.2}),
        (Classification([0.1, 0.9], "Not-Toxic"), {"class_0": 0.1}),
        (Classification([0.1, 0.9], "toxic"), {"class_0": 0.1, "toxic": 0.9}),
        (Classification([0.6]), {"class_0": 0.6}),
        (Classification([], "x"), {}),
    ],
)
def test_scores(classification: Classification, scores: dict[str, float]) -> None:
    assert classification.scores() == scores


def test_answer() -> None:
    labels = ["violence", "spam", "safe"]
    data = [
        {"index": 0, "label": "violence", "probs": [0.5, 0.1, 0.4], "labels": labels, "num_classes": 3},
        {"index": 1, "label": "safe", "probs": [0.1, 0.1, 0.8], "labels": labels, "num_classes": 3},
    ]
    body = json.dumps({"id": "classify-1", "object": "list", "model": "judge", "data": data, "usage": {}}).encode()
    answer = json.loads(ModerationTranslator().answer(body))
    assert (answer["id"], answer["model"]) == ("modr-1", "judge")
    first, second = answer["results"]
    assert (first["flagged"], second["flagged"]) == (True, False)
    assert [name for name, flag in first["categories"].items() if flag] == ["violence"]
    assert first["categories"].keys() == {*CATEGORIES, "spam"}
    assert (first["category_scores"]["violence"], first["category_scores"]["hate"]) == (0.5, 0)
    assert first["category_applied_input_types"]["spam"] == ["text"]
    assert first["category_applied_input_types"]["hate"] == []


@pytest.mark.parametrize("body", [b"", b"{}", b'{"data":[{}]}', b"\xff"])
def test_what_is_no_classification_is_an_error(body: bytes) -> None:
    with pytest.raises(BadGateway):
        ModerationTranslator().answer(body)
