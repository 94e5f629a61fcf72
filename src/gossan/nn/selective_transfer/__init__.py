"""Selective knowledge transfer: networks that take of a larger task what helps; in the making."""
