"""The Spark jobs: they move rows to where the numeric core runs, and compute nothing.

The only place that imports pyspark. Each job reads complete partitions, writes one
``as_of`` partition, and returns its manifest.
"""
