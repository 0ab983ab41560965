"""Training time compared with a hand-written loop and a usual Lightning template: `make bench`. Not packaged."""
