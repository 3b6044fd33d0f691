"""The stand-in for JSOC, serving a small Sun."""

from served_sun import ask, client, jsoc, sun, sun_patches

__all__ = ["ask", "client", "jsoc", "sun", "sun_patches"]
