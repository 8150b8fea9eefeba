"""One report of what Headrace costs, beside others, and how it grows: docs/benchmarks.md."""
