"""`python -m batchedit`."""

from batchedit.cli import main

if __name__ == "__main__":
    main()
