"""Training of the shipped face detector: scenes composed of cut-outs, a loss, a training loop."""
