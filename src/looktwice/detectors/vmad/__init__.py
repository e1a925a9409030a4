"""VMAD and LISA: a language model that says what is wrong and draws where. One model, any size.

`config.py` what a model consists of, `projector.py` LTC, `dssl.py` DSSL, `model.py` the model, `processing.py` pictures
and words in, `prompts.py` questions and answers, `detector.py` the two detectors.
"""
