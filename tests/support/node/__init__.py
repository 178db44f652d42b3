"""The real parts that need Node: Microsoft's storage emulator and Microsoft's KQL analyser."""
