"""What training costs: this project beside a loop written by hand and the usual recipe, as ratios in one run."""
