"""Stores: what a batch run leaves behind, read by key. They know neither speed."""
