"""Hourly bike rentals."""
