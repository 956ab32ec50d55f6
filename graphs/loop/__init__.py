"""The loop kit: a loop is declared once, and given everything that does not differ between loops."""
