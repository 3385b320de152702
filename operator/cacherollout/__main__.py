"""`python -m cacherollout`, the same as the program `cacherollout`."""

from cacherollout.cli import main

if __name__ == "__main__":
    main(prog_name="cacherollout")
