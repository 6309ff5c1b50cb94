"""What computes a network: torch on any device, or ONNX Runtime on a CPU. Networks look the same to everybody else."""
