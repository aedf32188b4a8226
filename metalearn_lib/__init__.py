"""A neural network that learns to set the learning rate of another."""

__version__ = "0.1.0"
