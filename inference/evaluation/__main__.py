"""`python -m inference.evaluation`."""

from inference.evaluation.cli import main

if __name__ == "__main__":
    main()
