"""What Headrace keeps: tenants, keys and the audit, in SQLite or PostgreSQL."""
