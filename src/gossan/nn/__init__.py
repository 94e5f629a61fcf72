"""Methods that learn with PyTorch, and only here; ``pip install "gossan[deep]"`` brings it.

Importing this package imports no torch: a method imports it when it is fitted or scores.
"""
