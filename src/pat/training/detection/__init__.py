"""Detection: drawn scenes and Pascal VOC, an SSD on a ResNet, its training with pruning, its precision."""
