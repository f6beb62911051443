"""Values and decisions. Nothing here does I/O, reads a clock or imports another package of this project's."""
