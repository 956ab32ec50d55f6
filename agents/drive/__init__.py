"""What the driver of the drive loop is asked and answers, and what people say to it."""
