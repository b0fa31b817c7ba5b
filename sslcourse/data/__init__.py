"""Data: sets with sealed test labels, pictures, films, sounds, the toybox, downloads, your own folders."""

from sslcourse import front_door

# What can be reached from here stands in __init__.pyi; each part loads when it is first used.
__getattr__, __dir__, __all__ = front_door(__name__, __file__)
