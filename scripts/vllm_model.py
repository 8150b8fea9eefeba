"""A GGUF as an ordinary Hugging Face folder, which vLLM serves: python vllm_model.py FOLDER-WITH-GGUF TARGET

Runs in the environment that scripts/vllm.sh makes.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
from transformers.utils.logging import disable_progress_bar, set_verbosity_error


def convert(source: Path, target: Path) -> None:
    """The weights become f32: what they were quantised from is not known any more, and the CPU computes in f32."""
    disable_progress_bar()
    set_verbosity_error()
    file = next(source.glob("*.gguf"))
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=file.name)
    model = AutoModelForCausalLM.from_pretrained(
        source, gguf_file=file.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    target.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


if __name__ == "__main__":
    os.environ["HF_HUB_OFFLINE"] = "1"
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
