"""``python -m pat.cli``."""

from pat.cli import main

if __name__ == "__main__":
    main()
