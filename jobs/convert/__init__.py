"""Data that people have, as the folder that ``python -m jobs.esmm train --data`` reads.

``python -m jobs.convert --help`` lists the layouts: Ali-CCP, Criteo, CSV with a header.
"""
