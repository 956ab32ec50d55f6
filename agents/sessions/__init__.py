"""What makes a run of a loop durable: its record, its feedback gate, its lease, its replay and its export."""
