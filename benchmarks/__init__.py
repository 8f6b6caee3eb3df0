"""Ratios of this library on the machine at hand: one module a question, each pair of sides in turns."""
