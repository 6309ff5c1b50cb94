"""Training of classifiers: data sets, augmentation, the loop, evaluation and calibration."""
