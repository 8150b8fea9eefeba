"""``/admin/v1``: keys, tenants, usage, the audit and the fleet, for administrators."""
