"""Fine-tuning on downstream tasks, and evaluation of them."""
