"""`python -m loopwright` is `loopwright`."""

import sys

from loopwright.cli import main

sys.exit(main())
