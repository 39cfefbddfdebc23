"""Audio files as waveforms at one rate, outside of a pipeline run."""

from pipeline.inputs import fetched
from schemas.codes import Waveform
from schemas.source import Source
from stages.audio import Audio
from stages.base import Recording
from stages.decode import PyavDecode
from stages.resample import resample


class AudioReader:
    """Decodes as the pipeline does, and resamples; nothing else is done to the audio."""

    def __init__(self, sample_rate_hz: int) -> None:
        self._rate_hz = sample_rate_hz
        self._decoder = PyavDecode(PyavDecode.Spec())
        self._decoder.open()

    def read(self, source: Source) -> Waveform:
        """Mono float32 samples; raises `ItemError` for what is no audio."""
        with fetched(source) as path:
            recording = Recording(source.source_id, "", source.uri, {"path": path})
            audio = self._decoder.process(recording).values["audio"]
        if not isinstance(audio, Audio):
            raise TypeError("decode wrote no audio")
        return resample(audio.samples, audio.sample_rate_hz, self._rate_hz)
