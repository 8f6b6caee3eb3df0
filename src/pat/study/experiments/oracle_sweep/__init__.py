"""oracle_sweep"""
