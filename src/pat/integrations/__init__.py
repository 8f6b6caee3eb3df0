"""The method in other people's training loops: a callback each, imported only where it is used."""
