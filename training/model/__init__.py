"""MLLM4WTAL on top of a host: KSM, CSR, their distillation, pseudo labels, the localization head.

What any network could use is in `nn/`; steps and optimizers are in `loop/`.
"""
