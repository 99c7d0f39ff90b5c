"""Adapters: pure flows, one module for each API, found by entry point."""
