"""The best configuration as a file: chosen, written, read again, and never trusted.

An exported file names options of the configuration and values, never code: to train or to
verify a file from elsewhere runs nothing but what is installed already.
"""
