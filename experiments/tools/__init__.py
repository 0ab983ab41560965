"""The tools around training, and a gallery of common mistakes with their symptoms."""
