from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headrace.errors import ModelError
from headrace.workers.bert import folder
from tests.workers.bert.harness import CONFIG, write_folder, write_json

TRANSFORMER = {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}
POOLING = {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}
NORMALIZE = {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}


def chain(path: Path, pooling: object, *more: object) -> None:
    write_json(path / "modules.json", [TRANSFORMER, POOLING, *more])
    write_json(path / "1_Pooling" / "config.json", pooling)


def test_a_bare_encoder_gets_mean_pooling_and_unit_length(tiny: Path) -> None:
    found = folder.read(tiny)
    assert (found.task, found.sentence.pooling, found.sentence.normalize, found.context) == (
        "embedding",
        "mean",
        True,
        16,
    )


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
        ({"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}, "cls"),
        ({"pooling_mode_lasttoken": True}, "last"),
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode": "lasttoken"}, "last"),
    ],
)
def test_pooling_is_the_model_s_own(tiny: Path, config: dict[str, Any], pooling: str) -> None:
    chain(tiny, config)
    assert folder.read(tiny).sentence.pooling == pooling


@pytest.mark.parametrize(
    "config",
    [
        {"pooling_mode_max_tokens": True},
        {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True},
        {"pooling_mode": "weightedmean"},
        {},
    ],
)
def test_pooling_that_is_not_served_is_refused(tiny: Path, config: dict[str, Any]) -> None:
    chain(tiny, config)
    with pytest.raises(ModelError, match=r"1_Pooling/config.json: the pooling .* is not served; one of mean"):
        folder.read(tiny)


def test_normalisation_is_the_model_s_own(tiny: Path) -> None:
    chain(tiny, {"pooling_mode": "mean"})
    assert not folder.read(tiny).sentence.normalize
    chain(tiny, {"pooling_mode": "mean"}, NORMALIZE)
    assert folder.read(tiny).sentence.normalize


def test_a_module_that_is_not_served_is_refused(tiny: Path) -> None:
    chain(tiny, {"pooling_mode": "mean"}, {"path": "2_Dense", "type": "sentence_transformers.models.Dense"})
    with pytest.raises(ModelError, match=r"modules.json: the module Dense is not served"):
        folder.read(tiny)


def test_a_missing_pooling_config_is_named(tiny: Path) -> None:
    write_json(tiny / "modules.json", [TRANSFORMER, POOLING])
    with pytest.raises(ModelError, match=r"1_Pooling/config.json: is missing, but modules.json names it"):
        folder.read(tiny)


def test_the_shortest_of_all_limits_holds(tiny: Path) -> None:
    write_json(tiny / "tokenizer_config.json", {"model_max_length": 1e30})
    assert folder.read(tiny).context == 16
    write_json(tiny / "tokenizer_config.json", {"model_max_length": 12})
    assert folder.read(tiny).context == 12
    write_json(tiny / "sentence_bert_config.json", {"max_seq_length": 10, "do_lower_case": False})
    assert folder.read(tiny).context == 10


def test_a_missing_folder_is_named_with_the_way_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nowhere: there is no such folder; `headrace models pull demo`"):
        folder.read(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_missing_file_is_named(tiny: Path, name: str) -> None:
    (tiny / name).unlink()
    with pytest.raises(ModelError, match=f"{name}: is missing; .*pull the model again"):
        folder.read(tiny)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_type": "deberta-v2"}, "from safetensors, and not 'deberta-v2': export it with `optimum-cli"),
        ({"architectures": ["LlamaForCausalLM"]}, "generates text: serve it with `headrace worker vllm`"),
        ({"position_embedding_type": "relative_key"}, "only 'absolute' is"),
        ({"hidden_act": "swish"}, "cannot be used"),
        ({"embedding_size": 4}, "embedding_size 4 beside hidden_size 8 is not served; export the model to ONNX"),
        ({"max_position_embeddings": None}, "cannot be used"),
        ({"num_attention_heads": 3}, "not a multiple of num_attention_heads 3"),
        ({"hidden_size": "wide"}, "cannot be used"),
    ],
)
def test_a_network_that_is_not_served_is_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    write_folder(tmp_path)
    write_json(tmp_path / "config.json", {**CONFIG, **change})
    with pytest.raises(ModelError, match=words):
        folder.read(tmp_path)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"config.json: is missing; a Hugging Face model folder has one; pull"):
        folder.read(tmp_path)


def test_missing_weights_are_named(tiny: Path) -> None:
    (tiny / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"model.safetensors: is missing; bert-worker reads safetensors or model.onnx"):
        folder.read(tiny)


def test_pickled_weights_are_not_read(tiny: Path) -> None:
    (tiny / "model.safetensors").rename(tiny / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"pytorch_model.bin can run code when it is read, .*save_pretrained"):
        folder.read(tiny)


@pytest.mark.parametrize("name", ["model.onnx", "onnx/model.onnx", "openvino_model.xml"])
def test_an_exported_network_serves_any_model_type(tiny: Path, name: str) -> None:
    (tiny / name).parent.mkdir(exist_ok=True)
    (tiny / "model.safetensors").rename(tiny / name)
    write_json(tiny / "config.json", {**CONFIG, "model_type": "deberta-v2"})
    found = folder.read(tiny)
    assert (found.graph, found.encoder) == (tiny / name, None)


def test_prompts_are_the_model_s_own(tiny: Path) -> None:
    source = tiny / "config_sentence_transformers.json"
    write_json(source, {"prompts": {"query": "q: ", "plain": None}, "default_prompt_name": "query"})
    sentence = folder.read(tiny).sentence
    assert [sentence.prompt(None), sentence.prompt("query"), sentence.prompt("plain")] == ["q: ", "q: ", ""]
    with pytest.raises(KeyError):
        sentence.prompt("other")
    chain(tiny, {"pooling_mode": "mean", "include_prompt": False})
    with pytest.raises(ModelError, match="leaves the prompt out"):
        folder.read(tiny)
    write_json(source, {"prompts": {}, "default_prompt_name": "query"})
    with pytest.raises(ModelError, match="default_prompt_name 'query' is none of its prompts"):
        folder.read(tiny)


def test_broken_json_is_named(tiny: Path) -> None:
    (tiny / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config.json: cannot be used"):
        folder.read(tiny)


def test_an_unreadable_file_is_named(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(ModelError, match=r"config.json: cannot be read: Permission denied"):
        folder.read(tiny)
