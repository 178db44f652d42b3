"""The bundled `.kql`: rendering, parsing, bootstrap and the shipped functions."""
