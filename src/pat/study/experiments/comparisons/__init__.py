"""Explorations: ways to train side by side, on seeds that decide no claim. One file a comparison."""
