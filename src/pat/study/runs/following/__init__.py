"""How runs are followed while they train: lines, bars, curves."""
