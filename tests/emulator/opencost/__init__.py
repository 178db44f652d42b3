"""The computed OpenCost against recorded ones."""
