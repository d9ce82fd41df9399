"""Registers the product's tables with Django as one app and one migration chain."""

from django.apps import AppConfig


class ModelsConfig(AppConfig):
    name = "cpm.models"
    label = "cpm"
    default_auto_field = "django.db.models.BigAutoField"
