"""Other APIs, answered out of chat completions: Anthropic's messages and OpenAI's responses."""
