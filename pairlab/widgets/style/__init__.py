"""Colours, type sizes, style sheets, number formats and decimals."""
