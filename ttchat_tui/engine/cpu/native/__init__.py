"""The layers in C, compiled for the machine it runs on; docs/decisions/016 says why."""
