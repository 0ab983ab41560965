"""What training costs here beside a loop written by hand and the usual template: `make bench`. Not packaged."""
