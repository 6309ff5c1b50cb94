"""Engines compute networks: torch on any device, or ONNX Runtime on a CPU, behind one interface."""
