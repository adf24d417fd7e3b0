"""Networks that turn counts into an object, on torch tensors."""
