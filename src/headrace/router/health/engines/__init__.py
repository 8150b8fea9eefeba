"""Bare engines: how each kind tells what it serves and how it does. One a file."""
