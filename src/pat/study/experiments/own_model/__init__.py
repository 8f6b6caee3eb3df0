"""own_model"""
