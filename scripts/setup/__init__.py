"""Makes ``.venv`` ready. It runs before anything is installed: standard library only."""
