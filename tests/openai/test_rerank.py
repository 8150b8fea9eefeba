from __future__ import annotations

import json
from typing import Any

import pytest

from headrace.errors import BadGateway, InvalidRequest
from headrace.openai.rerank import RerankRequest, WithoutDocuments
from headrace.openai.rules import Rules


def make(**fields: Any) -> RerankRequest:
    body = {"model": "m", "query": "q", "documents": ["a", "b"], **fields}
    request = RerankRequest.decode(json.dumps(body).encode())
    request.check(Rules(inputs=3))
    return request


def test_documents_go_out_as_strings() -> None:
    sent = json.loads(make(documents=["a", {"text": "b"}], top_n=1, truncate_prompt_tokens=5).encode("m"))
    assert sent == {"model": "m", "query": "q", "documents": ["a", "b"], "top_n": 1, "truncate_prompt_tokens": 5}


@pytest.mark.parametrize("wanted", [True, None])
def test_documents_come_back_unless_refused(wanted: bool | None) -> None:
    assert make(return_documents=wanted).translator is None
    request = make(return_documents=False)
    assert request.translator is not None
    assert "return_documents" not in json.loads(request.encode("m"))
    ranking = {"id": "r", "results": [{"index": 1, "relevance_score": 0.5, "document": {"text": "b"}}, {"index": 0}]}
    assert json.loads(request.translator.answer(json.dumps(ranking).encode())) == {
        "id": "r",
        "results": [{"index": 1, "relevance_score": 0.5}, {"index": 0}],
    }


def test_what_is_read_counts() -> None:
    assert make().text() == b"q\0a\0b"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"query": ""}, "query"),
        ({"query": None}, "query"),
        ({"documents": []}, "documents"),
        ({"documents": ["a", ""]}, "documents[1]"),
        ({"documents": ["a"] * 4}, "documents"),
        ({"documents": [{"image": "a"}]}, "documents[0].text"),
        ({"documents": "a"}, "documents"),
        ({"top_n": 0}, "top_n"),
        ({"priority": 1}, "priority"),
    ],
)
def test_bad_fields_are_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        make(**fields)
    assert caught.value.param == param


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"results":1}', b'{"results":[1]}', b"\xff"])
def test_what_is_no_ranking_is_an_error(body: bytes) -> None:
    with pytest.raises(BadGateway):
        WithoutDocuments().answer(body)
