"""Scores of weights: a network with some channels off and minibatches in, one score per channel out."""
