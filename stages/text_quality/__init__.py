"""How much a segment converses, tells and argues, as scores from 0 to 5."""
