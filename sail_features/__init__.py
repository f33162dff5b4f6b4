"""Content features for ranking models, computed on Spark and served by Feast.

Importing this package loads nothing heavy: no torch, no pyspark, no feast, no
mlflow. Each of them is imported by the one subpackage that needs it.
"""

__version__ = "0.1.0"
