"""The library that the processes share."""

VERSION = "3.0.0"
