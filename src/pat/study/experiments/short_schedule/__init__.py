"""One method on two clocks: what a schedule that is short against EPI's window does to it."""
