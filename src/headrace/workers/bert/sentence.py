"""What sentence-transformers keeps beside an encoder: how tokens become one vector, and what goes before a text.

``modules.json`` chains the modules, each of which has a folder of its own; prompts are in
``config_sentence_transformers.json``; the longest input is in ``sentence_bert_config.json``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec

from headrace.errors import ModelError
from headrace.workers.bert.files import FETCH, read_json, read_optional

Pooling = Literal["mean", "cls", "last"]

_POOLINGS: Mapping[str, Pooling] = {"mean": "mean", "cls": "cls", "lasttoken": "last"}
_LEGACY: Mapping[str, Pooling] = {"mean_tokens": "mean", "cls_token": "cls", "lasttoken": "last"}


@dataclass(frozen=True, slots=True)
class Sentence:
    """A folder without sentence-transformers' files is a bare encoder.

    It gets mean pooling, as sentence-transformers does, and unit length, which clients of OpenAI's API rely on.
    """

    pooling: Pooling = "mean"
    normalize: bool = True
    """Whether the vectors are of length 1."""
    prompts: Mapping[str, str] = field(default_factory=dict)
    """What goes before a text, by name."""
    default_prompt: str | None = None
    """The name of the prompt that a request gets which names none."""

    def prompt(self, name: str | None) -> str:
        """What goes before a text. Raises KeyError where the model has no prompt of this name."""
        name = self.default_prompt if name is None else name
        return "" if name is None else self.prompts[name]


class _Module(msgspec.Struct):
    type: str
    path: str = ""


class _Prompts(msgspec.Struct):
    prompts: dict[str, str | None] = msgspec.field(default_factory=dict)
    default_prompt_name: str | None = None


def read_sentence(folder: Path) -> Sentence:
    """Raises ModelError, which names the file, for what is not served."""
    prompts = read_optional(folder / "config_sentence_transformers.json", _Prompts) or _Prompts()
    known = {name: text or "" for name, text in prompts.prompts.items()}
    if prompts.default_prompt_name is not None and prompts.default_prompt_name not in known:
        raise ModelError(
            f"{folder / 'config_sentence_transformers.json'}: default_prompt_name {prompts.default_prompt_name!r} is "
            f"none of its prompts; {FETCH}"
        )
    modules = read_optional(folder / "modules.json", list[_Module])
    if modules is None:
        return Sentence(prompts=known, default_prompt=prompts.default_prompt_name)
    pooling: Pooling = "mean"
    normalize = False
    for module in modules:
        name = module.type.rpartition(".")[2]
        if name == "Pooling":
            pooling = _pooling(folder / module.path / "config.json", any(known.values()))
        elif name == "Normalize":
            normalize = True
        elif name != "Transformer":
            raise ModelError(
                f"{folder / 'modules.json'}: the module {name} is not served; Transformer, Pooling and Normalize are"
            )
    return Sentence(pooling, normalize, known, prompts.default_prompt_name)


def _pooling(path: Path, prompted: bool) -> Pooling:
    if not path.is_file():
        raise ModelError(f"{path}: is missing, but modules.json names it; {FETCH}")
    config = read_json(path, dict[str, Any])
    if config.get("include_prompt") is False and prompted:
        raise ModelError(f"{path}: pooling that leaves the prompt out (include_prompt: false) is not served")
    mode = config.get("pooling_mode")
    if mode is None:
        known = _LEGACY
        wanted = [key.removeprefix("pooling_mode_") for key, on in config.items() if "pooling_mode_" in key and on]
    else:
        known = _POOLINGS
        wanted = [str(one) for one in (mode if isinstance(mode, list) else [mode])]
    if len(wanted) != 1 or wanted[0] not in known:
        raise ModelError(
            f"{path}: the pooling {' + '.join(wanted) or 'none'} is not served; one of {', '.join(known)} is"
        )
    return known[wanted[0]]
