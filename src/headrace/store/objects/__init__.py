"""What clients leave with us: responses, files and batches. All of it belongs to a tenant and expires."""
