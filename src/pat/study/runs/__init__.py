"""Training what a store lacks: one run, a sweep of many, measured latencies and speeds."""
