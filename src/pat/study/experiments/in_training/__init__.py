"""in_training"""
