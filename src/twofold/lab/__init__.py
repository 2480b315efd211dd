"""Measuring both speeds of one model, and telling which to use."""
