"""Makes encoders/: tiny models of every kind that bert-worker serves, and what transformers computes with them.

The models have random weights: they prove the path from a folder to numbers, not quality. The folders are written by
the libraries themselves, so that they are what a real folder is. Run it once, in an environment of its own
(``pip install torch sentence-transformers onnx onnxscript``):

    python make_encoders.py
"""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from sentence_transformers import CrossEncoder, SentenceTransformer  # type: ignore[import-not-found]
from sentence_transformers.models import Normalize, Pooling, Transformer  # type: ignore[import-not-found]
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = Path(__file__).parent / "encoders"
CONTEXT = 48
SHAPE: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": CONTEXT,
}
TEXTS = (
    "hello",
    "the mill stands still",
    "The wheel of the mill turns, for water comes down the head race.",
    "水车在转，你好世界",
    "Привет, мир! שלום עולם مرحبا",
    "a\x00b",
    "😀 ﬁn",
    "water " * 30,
)
PAIRS = (
    ("water", "the wheel turns"),
    ("what turns the wheel?", "Water comes down the head race and turns the wheel of the mill."),
    ("wheel", ""),
    ("水", "你好世界"),
    ("water " * 9, "mill " * 90),
    ("wheel " * 60, "mill " * 70),
)


def main() -> None:
    warnings.simplefilter("ignore")
    shutil.rmtree(HERE, ignore_errors=True)
    references: dict[str, Any] = {}
    for name, make in MAKERS.items():
        torch.manual_seed(len(references))
        references[name] = make(HERE / name)
    references["made_with"] = {
        package: importlib.metadata.version(package) for package in ("torch", "transformers", "sentence-transformers")
    }
    (HERE / "references.json").write_text(json.dumps(references, indent=1) + "\n", encoding="ascii")


def word_pieces() -> Any:
    """BERT's kind of tokeniser, trained on the texts."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(_corpus(), trainers.WordPieceTrainer(vocab_size=160, special_tokens=special))
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.decoder = decoders.WordPiece()
    names = dict(zip(("pad", "unk", "cls", "sep", "mask"), special, strict=True))
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=CONTEXT,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **{f"{name}_token": token for name, token in names.items()},
    )


def byte_pairs() -> Any:
    """RoBERTa's kind of tokeniser."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(_corpus(), trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    tokenizer.decoder = decoders.ByteLevel()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=CONTEXT,
        model_input_names=["input_ids", "attention_mask"],
        bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>",
        pad_token="<pad>", unk_token="<unk>", mask_token="<mask>",
    )  # fmt: skip


def _corpus() -> Iterable[str]:
    return (*TEXTS, *(text for pair in PAIRS for text in pair))


def randomised(model: Any) -> Any:
    """Weights large enough that every part of the network shows in what comes out."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            values = torch.randn(parameter.shape) * 0.6
            parameter.copy_(1 + values if name.lower().replace("_", "").endswith("layernorm.weight") else values)
    return model.eval()


def classifier(kind: str, tokenizer: Callable[[], Any], **config: Any) -> Callable[[Path], Any]:
    def make(folder: Path) -> Any:
        model, pieces = _save(folder, kind, "ForSequenceClassification", tokenizer, config)
        return [{"text": text, "logits": _logits(model, pieces, text)} for text in TEXTS]

    return make


def ranker(kind: str, tokenizer: Callable[[], Any], **config: Any) -> Callable[[Path], Any]:
    def make(folder: Path) -> Any:
        model, pieces = _save(folder, kind, "ForSequenceClassification", tokenizer, {"num_labels": 1, **config})
        scores = CrossEncoder(str(folder), device="cpu").predict([list(pair) for pair in PAIRS], batch_size=1)
        return [
            {"text": list(pair), "logits": _logits(model, pieces, *pair), "score": float(score)}
            for pair, score in zip(PAIRS, scores, strict=True)
        ]

    return make


def embedder(kind: str, tokenizer: Callable[[], Any], pooling: str, **config: Any) -> Callable[[Path], Any]:
    """``config`` may have ``prompts`` for sentence-transformers; ``normalize`` adds the module of that name."""
    prompts, normalize = config.pop("prompts", None), config.pop("normalize", True)

    def make(folder: Path) -> Any:
        _save(folder, kind, "Model", tokenizer, config)
        encoder = Transformer(str(folder), max_seq_length=CONTEXT - 4)
        modules = [encoder, Pooling(SHAPE["hidden_size"], pooling_mode=pooling)]
        modules += [Normalize()] if normalize else []
        model = SentenceTransformer(modules=modules, prompts=prompts, device="cpu")
        shutil.rmtree(folder)
        model.save(str(folder), create_model_card=False)
        return [
            {"text": text, "prompt": prompt, "vector": _floats(model.encode([text], prompt_name=prompt)[0])}
            for text in TEXTS
            for prompt in (None, *(prompts or {}))
        ]

    return make


def exported(make: Callable[[Path], Any], kind: str) -> Callable[[Path], Any]:
    """The same model with its network as model.onnx only."""

    def export(folder: Path) -> Any:
        references = make(folder)
        network = Whole(getattr(transformers, f"AutoModel{kind}").from_pretrained(folder, attn_implementation="eager"))
        names = ["input_ids", "attention_mask", "token_type_ids"]
        torch.onnx.export(
            network.eval(),
            tuple(torch.ones((2, 7), dtype=torch.int64) for _ in names),  # one tensor would become one input
            folder / "model.onnx",
            input_names=names,
            output_names=["logits" if kind else "last_hidden_state"],
            dynamic_shapes={name: {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC} for name in names},
            external_data=False,
            dynamo=True,
        )
        (folder / "model.safetensors").unlink()
        return references

    return export


class Whole(torch.nn.Module):  # type: ignore[misc]
    """A network with the inputs that exports have, and its first output."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
        return self.network(input_ids, attention_mask, token_type_ids, return_dict=False)[0]


def _save(folder: Path, kind: str, head: str, tokenizer: Callable[[], Any], more: dict[str, Any]) -> tuple[Any, Any]:
    pieces = tokenizer()
    shape = {**SHAPE, **more, "vocab_size": len(pieces), "pad_token_id": pieces.pad_token_id}
    if kind == "Electra":
        shape["embedding_size"] = shape["hidden_size"]
    if kind == "DistilBert":
        shape["hidden_dim"] = shape.pop("intermediate_size")
    if "Roberta" in kind or kind == "MPNet":
        shape["max_position_embeddings"] += pieces.pad_token_id + 1
    config = getattr(transformers, f"{kind}Config")(**shape)
    arguments = {"add_pooling_layer": False} if head == "Model" else {}
    model = randomised(getattr(transformers, f"{kind}{head}")(config, **arguments))
    model.save_pretrained(folder)
    pieces.save_pretrained(folder)
    return model, pieces


def _logits(model: Any, pieces: Any, *text: str) -> list[float]:
    """Of one row by itself: no padding can play a part."""
    with torch.no_grad():
        columns = [[part] for part in text]  # as a list: one pair by itself loses its second text where that is empty
        return _floats(model(**pieces(*columns, truncation=True, return_tensors="pt")).logits[0].numpy())


def _floats(values: Any) -> list[float]:
    return [float(f"{value:.7g}") for value in np.asarray(values, np.float32)]


FEELINGS = {"id2label": {0: "joy", 1: "anger", 2: "neutral"}}
TOPICS = {
    "id2label": {0: "violence", 1: "hate", 2: "sexual", 3: "OK"},
    "problem_type": "multi_label_classification",
}
MAKERS: dict[str, Callable[[Path], Any]] = {
    "bert-feelings": classifier("Bert", word_pieces, **FEELINGS),
    "bert-topics": classifier("Bert", word_pieces, **TOPICS),
    "bert-ranker": ranker(
        "Bert", word_pieces, sentence_transformers={"activation_fn": "torch.nn.modules.linear.Identity"}
    ),
    "bert-retriever": embedder(
        "Bert",
        word_pieces,
        "cls",
        prompts={"query": "query: ", "document": "passage: "},
        matryoshka_dimensions=[4, 8],
    ),
    "bert-last": embedder("Bert", word_pieces, "lasttoken", normalize=False, hidden_act="relu"),
    "roberta-feelings": classifier("Roberta", byte_pairs, **FEELINGS),
    "xlm-roberta-ranker": ranker("XLMRoberta", byte_pairs, type_vocab_size=1),
    "distilbert-feelings": classifier("DistilBert", word_pieces, **FEELINGS),
    "electra-feelings": classifier("Electra", word_pieces, **FEELINGS),
    "mpnet-mean": embedder("MPNet", byte_pairs, "mean"),
    "mpnet-feelings": classifier("MPNet", byte_pairs, **FEELINGS),
    "onnx-mean": exported(embedder("Bert", word_pieces, "mean"), ""),
    "onnx-ranker": exported(ranker("Bert", word_pieces), "ForSequenceClassification"),
}


if __name__ == "__main__":
    main()
