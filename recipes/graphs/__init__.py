"""Draws the ONNX graphs that `models/inference/engines/onnx_graph.py` puts weights into."""
