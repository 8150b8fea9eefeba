"""What Headrace costs: CPU of llm-api and router per request and per streamed chunk, as ratios to one nginx hop."""
