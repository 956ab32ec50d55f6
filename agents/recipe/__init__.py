"""The recipe loop: selection of scored labels."""
