"""What the paper claims, the rule that decides each claim, and what came out."""
