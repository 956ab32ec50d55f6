"""The loop kit: a loop is declared once (`Loop`), and the kit gives it everything that does not differ between loops."""
