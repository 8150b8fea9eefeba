"""bert-worker: encoder models, first of all embeddings."""
