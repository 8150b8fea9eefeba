"""llm-api: who are you, may you, is it valid; then on to a router."""
