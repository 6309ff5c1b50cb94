"""Running a trained network: engines, devices, classifiers."""
