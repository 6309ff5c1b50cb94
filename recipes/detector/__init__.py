"""How the shipped detector of drawn faces is made: scenes composed of cut-outs, a loss, a loop."""
