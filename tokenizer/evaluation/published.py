"""What others reached, to be read beside one's own figures."""

from dataclasses import dataclass

REPORT = "MiMo-Audio technical report (Xiaomi, 2025), Table 1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """A row of another's table. Its clips are others, and its PESQ is taken to be wide-band."""

    name: str
    bitrate_kbps: float
    stoi: float
    pesq_wb: float
    source: str = REPORT


PUBLISHED = (
    Published(name="EnCodec 24 kHz", bitrate_kbps=1.5, stoi=0.85, pesq_wb=1.56),
    Published(name="MiMo-Audio-Tokenizer, 1.2 B", bitrate_kbps=1.55, stoi=0.92, pesq_wb=2.43),
)
