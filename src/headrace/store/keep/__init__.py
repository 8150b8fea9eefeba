"""Values that are kept for a while: answers for repeated requests."""
