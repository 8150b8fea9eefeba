"""Routers in virtual time: ours, which is the real code, and a host for the rules of others."""
