"""Frames from JSOC: queries, choice, exports, downloads, and a manifest that survives a kill."""
