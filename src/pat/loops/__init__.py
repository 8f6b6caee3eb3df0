"""What training loops are like: their optimizers, wrappers, ranks and slips."""
