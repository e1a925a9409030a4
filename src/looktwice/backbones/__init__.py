"""Networks that several systems share: SAM, CLIP, LLaVA's text and image layout, mask losses, tiny ones for tests.

The networks themselves are those of transformers. What is here is what surrounds them: sizes, preparation of
images, prompts, and the arithmetic that must agree with the published code to the last bit.
"""
