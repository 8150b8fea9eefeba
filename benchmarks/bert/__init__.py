"""How fast bert-worker is, beside the bare backend, sentence-transformers and infinity."""
