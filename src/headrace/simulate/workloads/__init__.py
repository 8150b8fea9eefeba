"""What users ask for: seeded, shaped like published traces, one kind a file."""
