"""The science of silentmix on arrays and tensors: no files, no orchestration.

Needs torch, numpy and scipy alone. Audio is float32 and channels-first: a mixture is ``(C, T)``,
stems are ``(S, C, T)`` in the order of the sources, which every function and every configuration is
told, as it is the sample rate. A *sample* is one instant of audio; a *frame* is one analysis frame
of ``hop_samples`` samples.
"""
