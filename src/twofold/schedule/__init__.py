"""Periodically: which runs are due, and the processes that work on them."""
