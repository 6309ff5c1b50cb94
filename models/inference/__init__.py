"""Inference with trained networks: engines, devices, classifiers."""
