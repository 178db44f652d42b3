# Completion of opencost-kusto for bash; the program itself knows its commands and options.
source <(_OPENCOST_KUSTO_COMPLETE=source_bash opencost-kusto)
