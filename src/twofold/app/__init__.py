"""The only place that wires settings, files and the other floors together."""
