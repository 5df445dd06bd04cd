"""`python -m spinet`, and what `torchrun -m -- spinet` starts in each process."""

from spinet.cli import main

main()
