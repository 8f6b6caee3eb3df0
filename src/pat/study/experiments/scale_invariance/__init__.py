"""What the gradient criterion sees of a layer whose scale the next layer takes out."""
