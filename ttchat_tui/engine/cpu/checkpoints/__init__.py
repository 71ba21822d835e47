"""Files that hold a model: GGUF and safetensors."""
