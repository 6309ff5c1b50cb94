"""The domain: emotions, images, predictions, runs and their rules. Imports only the standard library and numpy."""
