"""Readers of model files: GGUF and safetensors."""
