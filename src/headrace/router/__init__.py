"""The router: which worker takes a request, and when."""
