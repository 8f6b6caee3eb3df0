"""What the paper prints: its values and its networks."""
