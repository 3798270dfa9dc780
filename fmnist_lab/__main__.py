"""`python -m fmnist_lab`, the same as `fmnist-lab`."""

from fmnist_lab.cli import main

main()
