"""The native CPU backend: C++ that is compiled at first use for this processor, called through ctypes."""
