"""Export of the ONNX graphs that `models/inference/engines/onnx_graph.py` fills with weights."""
