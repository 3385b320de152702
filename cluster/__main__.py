"""The command line: `python3 -m cluster up|down|status|build-images|load-images|kubeconfig|tools`."""

import sys

from cluster.cli import main

sys.exit(main())
