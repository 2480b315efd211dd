"""The one door: every prediction, at either speed, is made in here."""
