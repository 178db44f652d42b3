# Completion of opencost-kusto for fish; the program itself knows its commands and options.
_OPENCOST_KUSTO_COMPLETE=source_fish opencost-kusto | source
