"""at_initialisation"""
