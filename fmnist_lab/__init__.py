"""Which learning-rate schedule should I use, by how much is it better, and how sure am I?"""

__version__ = "0.1.0"
