"""Packing: declare a model, compile it, prove parity, store it as a version."""
