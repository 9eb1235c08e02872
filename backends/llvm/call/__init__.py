"""The call of an executable as machine code that no program needs to be compiled for."""
