"""Hybrid: what a batch run leaves for real time. It is published, and then answers by key."""
