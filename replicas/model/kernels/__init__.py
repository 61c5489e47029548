"""The decoder's arithmetic, twice: in torch, and for CPUs in one C++ file built on first use."""
