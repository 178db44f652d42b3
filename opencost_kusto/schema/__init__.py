"""What is declared: the columns of every table, where each value comes from, and what follows from that."""
