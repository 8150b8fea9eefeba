"""How much of the service keys and tenants may use: in memory for one process, in Redis or Valkey for many."""
