"""The demo: real telecom customers through both speeds, told as it goes."""
