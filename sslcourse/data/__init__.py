"""Data: sets with splits and sealed test labels, pictures, films and sounds, the toybox, downloads, your own
folders.
"""
