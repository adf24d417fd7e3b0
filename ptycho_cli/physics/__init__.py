"""Forward model, likelihood, regularised update and physics-only engines of ptychography, on torch tensors."""
