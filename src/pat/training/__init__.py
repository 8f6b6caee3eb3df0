"""A training loop of our own: data, models, recipe, trainer, tracking, checkpoints."""
