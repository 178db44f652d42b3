"""`python -m opencost_kusto`."""

from opencost_kusto.cli import main

if __name__ == "__main__":
    main()
