"""Tools for training, and a gallery of common mistakes with their symptoms."""
