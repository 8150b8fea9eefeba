"""Makes minilm_reference.json: what sentence-transformers computes for all-MiniLM-L6-v2 on mixed texts.

Run it once, in an environment of its own (``pip install torch sentence-transformers``):

    python make_minilm_reference.py FOLDER_OF_THE_MODEL
"""

from __future__ import annotations

import base64
import importlib.metadata
import json
import sys
from pathlib import Path

_SENTENCE = "The head race is the channel that brings the stream to the wheels of the mill. "
TEXTS = (
    "hello",
    "Hello, world!",
    "The quick brown fox jumps over the lazy dog.",
    "a",
    "?",
    "",
    " ",
    "\n\t  \r\n",
    "\x00",
    "before\x00after",
    "A text with a NUL byte\x00\x00 in the middle of it.",
    "UPPER CASE AND lower case",
    "naïve café façade — résumé “quotes” …",
    "ÅNGSTRÖM straße İstanbul ﬁﬂ",
    "你好，世界",
    "人工智能正在改变我们使用语言的方式，而模型越来越大。",
    "今天天气很好，我们去河边看水车。",
    "مرحبا بالعالم",
    "اللغة العربية لغة جميلة تكتب من اليمين إلى اليسار.",
    "שלום עולם, זה טקסט בעברית",
    "Привет, мир! Как дела сегодня?",
    "Η γρήγορη καφέ αλεπού πηδάει πάνω από το τεμπέλικο σκυλί.",
    "नमस्ते दुनिया, यह हिन्दी में एक वाक्य है।",
    "こんにちは世界。水車小屋に水が流れてくる。",
    "안녕하세요, 반갑습니다. 오늘은 날씨가 좋네요.",
    "สวัสดีชาวโลก",
    "😀",
    "I ❤️ mills 🏞️🌊 and 👩‍👩‍👧‍👦 families 🇩🇪",
    "Zalgo: z̷̢̛a̸̧͠l̵̨̕g̶̢͝o̴̡͘",
    "zero\u200bwidth\u200djoiner\ufeffmark",
    "https://example.org/path?query=1&other=two#fragment",
    "def f(x):\n    return [i ** 2 for i in range(x) if i % 3]",
    '{"key": ["value", 1, 2.5, null, true]}',
    "SELECT name, count(*) FROM mills WHERE head > 3.5 GROUP BY name;",
    "1234567890 3.14159 -17 1e-9 ٣٤٥",
    "[CLS] special [SEP] tokens [MASK] [PAD] in a text",
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
    "x" * 99,
    "x" * 150,
    "word " * 20,
    "!?.,;:" * 15,
    "How do I reset my password?",
    "I forgot my password and cannot log in any more.",
    "What is the capital of France?",
    "Paris is the capital and largest city of France.",
    _SENTENCE,
    _SENTENCE * 3,
    _SENTENCE * 8,
    _SENTENCE * 13,
    "水" * 254,
    "word " * 598,
    _SENTENCE * 34,
)


def main() -> None:
    import torch
    from sentence_transformers import SentenceTransformer  # type: ignore[import-not-found]

    torch.set_num_threads(1)
    model = SentenceTransformer(sys.argv[1], device="cpu")
    vectors = [model.encode([text])[0] for text in TEXTS]  # one at a time: no padding can play a part
    document = {
        "model": "all-MiniLM-L6-v2",
        "made_with": {name: importlib.metadata.version(name) for name in ("sentence-transformers", "torch")},
        "max_tokens": model.max_seq_length,
        "samples": [
            {"text": text, "vector": base64.b64encode(vector.astype("<f4").tobytes()).decode()}
            for text, vector in zip(TEXTS, vectors, strict=True)
        ],
    }
    target = Path(__file__).with_name("minilm_reference.json")
    target.write_text(json.dumps(document, indent=1, ensure_ascii=True) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
