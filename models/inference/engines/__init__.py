"""Engines, which compute networks: torch on any device, and ONNX Runtime on a CPU."""
