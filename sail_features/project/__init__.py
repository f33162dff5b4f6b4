"""A project for a new user: settings, a feature repository, example data, what to type.

The settings and the feature repository are those of this project itself: `template_folder`
finds them beside the package in a checkout, and among the data files of an installation.
"""

from sail_features.project.create import create_project
from sail_features.project.template import FEATURE_REPO, copy_feature_repo, template_folder

__all__ = ["FEATURE_REPO", "copy_feature_repo", "create_project", "template_folder"]
