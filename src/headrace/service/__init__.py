"""How a service runs: its settings, its ops port, its processes, signals and drain."""
