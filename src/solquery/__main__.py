"""``python -m solquery`` does what the command ``solquery`` does, where the latter is not on the PATH."""

from .cli import main

if __name__ == "__main__":
    main()
