"""Everloop keeps machine-learning models right in production."""
