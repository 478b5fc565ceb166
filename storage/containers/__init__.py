"""Walkers over the containers that photos come in: JPEG segments, PNG and RIFF chunks, TIFF directories.

May import errors.
"""
