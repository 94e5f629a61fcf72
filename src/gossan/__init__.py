"""Mineral prospectivity maps from few known deposits."""
