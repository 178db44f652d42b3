"""Random histories of runs over both emulators with everything that can go wrong, and what must hold after each."""
