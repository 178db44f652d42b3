"""Takes OpenCost's costs into Azure Data Explorer: each window exactly once, complete, and proven."""

__version__ = "0.1.0"
