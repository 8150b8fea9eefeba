"""Whether llm-api and the router stay as large as they are, over a million requests."""
