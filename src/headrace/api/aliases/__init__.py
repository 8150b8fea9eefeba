"""Names that the operator gives to models: with defaults, bounds, canaries and fallbacks."""
