"""Training of classifiers: data sets, augmentation, training loop, evaluation, calibration, explanation."""
