"""rival_triggers"""
