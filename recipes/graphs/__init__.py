"""Draws the ONNX graphs that `models/engines/graph.py` puts weights into."""
