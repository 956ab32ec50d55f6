"""Simulated dishes: what may be in them, their pictures, their instructions, and what a picture tells exactly."""
