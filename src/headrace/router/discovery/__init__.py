"""Which workers there are."""
