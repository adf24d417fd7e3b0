"""The forward model of ptychography and its likelihood, on torch tensors."""
