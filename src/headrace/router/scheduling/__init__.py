"""Which worker takes a request: filter, score, pick. One plugin a file."""
