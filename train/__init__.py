"""Pretraining and fine-tuning of models, with measured run directories."""
