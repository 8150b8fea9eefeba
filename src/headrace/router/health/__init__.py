"""How the workers are."""
