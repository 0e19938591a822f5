"""The native CPU backend: C++ compiled at first use for the processor at hand, called through ctypes."""
