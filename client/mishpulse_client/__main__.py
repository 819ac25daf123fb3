"""`python -m mishpulse_client` is the `pulse` command."""

import sys

from .cli import main

sys.exit(main())
