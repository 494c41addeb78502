"""The warm start: what the shipped weights were trained on, and how."""
