"""Files, and batches of requests that are made from them."""
