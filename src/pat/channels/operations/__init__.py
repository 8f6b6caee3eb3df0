"""What operations do to channels: an operation and its place in, rules that move labels on out."""
