"""The best configuration as a file: chosen, written, read again, and never trusted.

An exported file names options of the configuration and values, never code: whoever trains or
verifies somebody else's file runs nothing but what is installed there already.
"""
