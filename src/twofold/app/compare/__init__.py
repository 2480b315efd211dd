"""Measuring one model at both speeds, and what lies in between, as whole processes."""
