"""Latency: layers timed, a table of them, and the penalty that steers a ranking by it."""
