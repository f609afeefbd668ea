"""Recipes: which stem goes into which silence, from where, how loud."""
