"""The public API's types: what a client may send, decoded once, checked, and encoded again for the worker."""
