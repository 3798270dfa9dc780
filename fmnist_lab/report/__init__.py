"""The report of a sweep: what was found, in words and charts, as one HTML file.

`setup` reads how the sweep was asked for and `evidence` what came out of it, `sentences`,
`cautions` and `method` say it in words, `figures` and `tables` show it, `page` puts all that into
a file. plotly is imported when something is drawn.
"""

from fmnist_lab.report.evidence import Evidence, gather, gather_foreign
from fmnist_lab.report.page import write

__all__ = ["Evidence", "gather", "gather_foreign", "write"]
