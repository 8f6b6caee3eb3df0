"""How the images of a data set lie: embedded in a package, in CIFAR batches, in folders of classes."""
