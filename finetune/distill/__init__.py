"""Distillation: what a stronger model writes about given labels, for a smaller one to learn from."""
