"""From the numbers of finished runs to verdicts: statistics, claims, references."""
