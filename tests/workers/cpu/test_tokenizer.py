from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from headrace.errors import InvalidRequest, ModelError
from headrace.workers.cpu.model import find
from headrace.workers.cpu.tokenizer import Tokenizer

USER = {"role": "user", "content": "hi"}


@pytest.fixture(scope="module")
def tokenizer(model_folder: Path) -> Tokenizer:
    return Tokenizer(find(model_folder).path)


def render(tokenizer: Tokenizer, content: str) -> str:
    messages = [USER, {"role": "assistant", "content": content}]
    return tokenizer.render(messages, add_generation_prompt=False, continue_final_message=True)


@given(text=st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs", "Cc"])))  # others, it lacks bytes of
@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_decode_undoes_encode(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text, special=False)) == text


def test_special_tokens_are_no_text(tokenizer: Tokenizer) -> None:
    tokens = tokenizer.encode("<|im_start|>hi<|im_end|>", special=False)
    assert tokenizer.decode(tokens) == "hi"
    assert [tokenizer.vocabulary.name(token) for token in tokens] == ["<|im_start|>", "hi", "<|im_end|>"]


def test_every_token_that_is_text_by_itself_decodes_as_the_engine_says(tokenizer: Tokenizer) -> None:
    ours = [tokenizer.decode([token]) for token in range(len(tokenizer.vocabulary))]
    theirs = tokenizer._tokenizer.decode([[token] for token in range(len(tokenizer.vocabulary))])
    assert [(a, b) for a, b in zip(ours, theirs, strict=True) if a != b and "\ufffd" not in a] == []


@pytest.mark.parametrize("content", ["The sky", "The sky \n", "", "{{ x }} <|im_end|>", "€ 🏞"])
def test_continuing_ends_with_the_text(tokenizer: Tokenizer, content: str) -> None:
    opened = tokenizer.render([USER], add_generation_prompt=True, continue_final_message=False)
    assert render(tokenizer, content) == opened + content


def test_template_that_refuses(model_folder: Path) -> None:
    picky = Tokenizer(find(model_folder).path)
    picky._tokenizer.set_chat_template("{% if messages %}{{ raise_exception('roles must alternate') }}{% endif %}")
    with pytest.raises(InvalidRequest, match="refuses these messages: roles must alternate") as refused:
        render(picky, "x")
    assert refused.value.param == "messages"


def test_folder_without_a_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="its tokenizer cannot be loaded"):
        Tokenizer(str(tmp_path))
