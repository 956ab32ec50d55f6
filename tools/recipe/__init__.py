"""Recipes and dishes: loaders, labels and their vocabularies, simulated and recorded dishes, and the world."""
